"""Whatever is done in whatever order: every invariant holds, and the reference does the same.

Submitters, workers, owners and operators, some of them confused, do what they like with a machine
and with `reference.Reference`. Every reply, event and lease, and all that can be asked, are equal.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cluster.core.accounting import UNBOUNDED_BYTES
from cluster.core.commands import (
    BeginTerm,
    Cancel,
    Complete,
    Fail,
    Heartbeat,
    Offer,
    RaiseVersion,
    Refusal,
    Refused,
    Release,
    Report,
    Retry,
    Submit,
    Tick,
    Ticked,
)
from cluster.core.invariants import check
from cluster.core.machine import Machine
from cluster.core.model import TaskStatus
from cluster.core.queries import Count, GetTask, ListTasks, ListWorkers, Timeline, WorkerLeases
from cluster.core.queue_commands import RemoveDead
from cluster.core.queue_queries import GetOperation, ListDead, ListQueues
from tests.cluster.core.asking import (
    ANYTHING,
    CLOSINGS,
    DAY_MS,
    DEAD_RETRIES,
    HOUR_MS,
    NODES,
    OPERATION_IDS,
    REGISTRATIONS,
    RESULTS,
    SOME,
    SUBMISSIONS,
    SUSPENSIONS,
)
from tests.cluster.core.reference import Reference

EXAMPLES = int(os.environ.get("QUORATE_TEST_EXAMPLES", "100"))
STEPS = 40

LEASE_MS = 3_000
HEARTBEAT_MS = 300


def complete_of(task_id, token):
    return Complete(task_id, token, b"late")


def fail_of(task_id, token):
    return Fail(task_id, token, "late")


class Clients(RuleBasedStateMachine):
    """All who ask something of a machine, one entry after the other."""

    def __init__(self):
        super().__init__()
        self.machine = Machine(lease_ms=LEASE_MS, heartbeat_ms=HEARTBEAT_MS)
        self.reference = Reference(lease_ms=LEASE_MS, heartbeat_ms=HEARTBEAT_MS)
        self.index = 0
        self.cluster_ms = 0
        self.wall_ms = 0

    def do(self, *commands):
        """Apply an entry to both."""
        self.index += 1
        applied = self.machine.apply_entry(commands, **self.moment())
        predicted = self.reference.entry(
            commands,
            self.cluster_ms,
            self.wall_ms,
            refused=[essence_of(reply) is Refusal.CLUSTER_FULL for reply in applied.replies],
            evicted=[each.task_id for each in applied.events if each.error == "evicted"],
        )
        for command, reply, expected in zip(commands, applied.replies, predicted, strict=True):
            assert essence_of(reply) == expected, command
        told = [f"{each.kind} {subject_of(each)}" for each in applied.events]
        assert sorted(told) == sorted(self.reference.events)
        leased = [each for each in applied.events if each.kind == "leased"]
        grants = [(each.task_id, each.worker_id, each.lease_token) for each in leased]
        assert grants == self.reference.grants
        return applied

    def moment(self):
        return {
            "index": self.index,
            "term": 1,
            "cluster_time_ms": self.cluster_ms,
            "wall_time_ms": self.wall_ms,
        }

    # Most of what is asked is about something that is there.

    @initialize(
        commands=st.lists(REGISTRATIONS, min_size=1, max_size=4), version=st.sampled_from((1, 2))
    )
    def begin(self, commands, version):
        self.do(BeginTerm("n1"), RaiseVersion(version), *commands)
        self.do(*(Offer(command.worker_id, 1, 2, is_standing=True) for command in commands))

    @rule(command=SUBMISSIONS)
    def submit(self, command):
        self.do(command)

    @rule(command=SUBMISSIONS)
    def submit_what_is_new(self, command):
        self.do(Submit(tuple(new._replace(id=f"{self.index}-{new.id}") for new in command.tasks)))

    @precondition(lambda self: self.reference.tasks)
    @rule(some=SOME)
    def submit_again(self, some):
        self.do(Submit((pick(self.reference.tasks, some).new,)))

    @rule(command=REGISTRATIONS, slots=st.integers(1, 4), is_standing=st.booleans())
    def join(self, command, slots, is_standing):
        command = replace(command, worker_id=f"{self.index}-{command.worker_id}")
        self.do(command, Offer(command.worker_id, 1, slots, is_standing))

    @precondition(lambda self: self.reference.workers)
    @rule(some=SOME, slots=st.integers(1, 4), is_standing=st.booleans())
    def offer(self, some, slots, is_standing):
        worker = pick(self.reference.workers, some)
        self.do(Offer(worker.id, worker.epoch + 1, slots, is_standing))

    @precondition(lambda self: self.reference.workers)
    @rule(some=SOME, node=NODES, forgotten=st.integers(0, 2))
    def heartbeat(self, some, node, forgotten):
        worker = pick(self.reference.workers, some)
        self.do(Heartbeat(worker.id, tuple(worker.held)[forgotten:], node))

    @rule(ms=st.sampled_from([100, 300, 900]))
    def let_time_pass_while_all_heartbeat(self, ms):
        self.pass_time(ms)
        workers = self.reference.workers.values()
        self.do(*(Heartbeat(each.id, tuple(each.held), each.node) for each in workers))

    @precondition(lambda self: self.running())
    @rule(some=SOME, result=RESULTS)
    def complete(self, some, result):
        self.do(Complete(*pick(self.running(), some), result, "json"))

    @precondition(lambda self: self.running())
    @rule(some=SOME, may_retry=st.sampled_from([True, True, False]))
    def fail(self, some, may_retry):
        self.do(Fail(*pick(self.running(), some), "broken", may_retry))

    @precondition(lambda self: self.running())
    @rule(some=SOME, make=st.sampled_from([Release, partial(Report, progress=b"half")]))
    def say_meanwhile(self, some, make):
        task_id, token = pick(self.running(), some)
        self.do(make(task_id=task_id, lease_token=token))

    @precondition(lambda self: self.leased())
    @rule(some=SOME, ago=st.integers(0, 2), make=st.sampled_from([complete_of, fail_of, Release]))
    def repeat_or_come_late(self, some, ago, make):
        task_id, token = pick(self.leased(), some)
        self.do(make(task_id, token - ago))

    @precondition(lambda self: self.reference.tasks)
    @rule(some=SOME, make=st.sampled_from([Cancel, Cancel, Retry, Retry, RemoveDead]))
    def steer(self, some, make):
        self.do(make(pick(self.reference.tasks, some).new.id))

    @precondition(lambda self: self.reference.dead())
    @rule(command=DEAD_RETRIES)
    def retry_the_dead(self, command):
        self.do(replace(command, operation_id=f"retry-{self.index}"))

    @rule(command=SUSPENSIONS | CLOSINGS)
    def hold_up_or_let_go_on(self, command):
        self.do(command)

    @rule(command=ANYTHING)
    def ask_blindly(self, command):
        self.do(command)

    @rule(ms=st.sampled_from([1, 100, 300, 999, 3_000]))
    def let_time_pass(self, ms):
        self.pass_time(ms)
        self.do(Tick())

    @rule(ms=st.sampled_from([300_000, 300_001, HOUR_MS, DAY_MS]), is_outage=st.booleans())
    def let_much_time_pass(self, ms, is_outage):
        self.pass_time(ms)
        self.do(BeginTerm("n2") if is_outage else Tick())

    @rule(ms=st.sampled_from([-500, 100, 500, 2_000]))
    def correct_the_wall_clock(self, ms):
        self.wall_ms += ms
        self.do(Tick())

    @rule(commands=st.lists(ANYTHING, min_size=2, max_size=5), ms=st.sampled_from([0, 100, 1_000]))
    def happen_together(self, commands, ms):
        self.pass_time(ms)
        self.do(*commands)

    def pass_time(self, ms):
        self.cluster_ms += ms
        self.wall_ms += ms

    def running(self):
        """Each task that runs, with its token."""
        return {task_id: lease for task_id, lease in self.leased().items() if self.runs(task_id)}

    def runs(self, task_id):
        return self.reference.tasks[task_id].status == "processing"

    def leased(self):
        """Each task that was ever leased, with its newest token, whatever became of it."""
        return {
            task.new.id: (task.new.id, task.token)
            for task in self.reference.tasks.values()
            if task.token is not None
        }

    @invariant()
    def all_is_as_it_should_be(self):
        assert check(self.machine) == []
        self.nothing_due_is_left_undone()
        self.tasks_are_what_they_should_be()
        self.workers_are_what_they_should_be()
        self.counts_are_what_they_should_be()
        self.queues_are_what_they_should_be()
        self.dead_letters_are_what_they_should_be()
        self.operations_are_what_they_should_be()

    def nothing_due_is_left_undone(self):
        """Only what a full machine gave room for since it last looked is left to the next entry."""
        if self.machine.state.memory_bytes_max < UNBOUNDED_BYTES:
            self.do(Tick())
        now, due = self.machine.state.now, self.machine.next_deadline()
        assert due.cluster_ms is None or due.cluster_ms > now.cluster_ms
        assert due.wall_ms is None or due.wall_ms > now.wall_ms

    def tasks_are_what_they_should_be(self):
        tasks = self.reference.newest_first()
        page = self.machine.answer(ListTasks(limit=1_000))
        assert [task_of(view) for view in page.tasks] == [expected_task(task) for task in tasks]
        for view, task in zip(page.tasks, tasks, strict=True):
            assert self.machine.answer(GetTask(view.id)) == view
            kinds = [entry.kind for entry in self.machine.answer(Timeline(view.id)).entries]
            assert kinds == [task.story[0], *task.story[1:][-63:]]

    def workers_are_what_they_should_be(self):
        workers = self.reference.workers.values()
        views = self.machine.answer(ListWorkers(limit=1_000)).workers
        assert [worker_of(view) for view in views] == [expected_worker(each) for each in workers]
        for worker in workers:
            leases = self.machine.answer(WorkerLeases(worker.id))
            assert leases == tuple(self.reference.leases_of(worker))

    def counts_are_what_they_should_be(self):
        reference = self.reference
        counts = self.machine.answer(Count())
        assert dict(counts.by_status) == counted(reference.tasks.values())
        assert counts.completed_ever == reference.completed_ever
        assert counts.workers_active == len(
            [worker for worker in reference.workers.values() if worker.status == "active"]
        )

    def queues_are_what_they_should_be(self):
        queues = {}
        for task in self.reference.tasks.values():
            queues.setdefault(task.new.kind.queue, []).append(task)
        for name in self.reference.paused:
            queues.setdefault(name, [])
        assert [
            (view.name, view.is_paused, dict(view.by_status))
            for view in self.machine.answer(ListQueues()).queues
        ] == [
            (name, name in self.reference.paused, counted(queues[name])) for name in sorted(queues)
        ]

    def dead_letters_are_what_they_should_be(self):
        for queue, type_ in ((None, None), ("other", None), (None, "x"), ("default", "y")):
            page = self.machine.answer(ListDead(queue, type_, limit=1_000))
            expected = [task.new.id for task in self.reference.dead(queue, type_)]
            assert [view.id for view in page.tasks] == expected
            assert page.total == len(expected)

    def operations_are_what_they_should_be(self):
        for operation_id in (*OPERATION_IDS, *self.reference.operations):
            view = self.machine.answer(GetOperation(operation_id))
            expected = self.reference.operations.get(operation_id)
            assert (view is None) == (expected is None)
            if view is not None:
                assert view.is_finished
                assert (view.kind, view.queue, view.type) == expected.meaning
                assert (view.done, view.total) == (expected.done, expected.total)


def essence_of(reply):
    """The reply, without what is for people or for the machine alone."""
    if isinstance(reply, Refused):
        assert reply.detail
        return reply.refusal
    return Ticked if isinstance(reply, Ticked) else reply


def subject_of(event):
    return event.task_id or event.worker_id or event.queue or event.node


def pick(several, some):
    """One of the values, in the order in which they came."""
    return list(several.values())[some % len(several)]


def counted(tasks):
    statuses = [task.status for task in tasks]
    return {status: statuses.count(status) for status in TaskStatus}


def task_of(view):
    return {
        "id": view.id,
        "status": view.status,
        "run_at_ms": view.run_at_ms,
        "created_at_ms": view.created_at_ms,
        "started_at_ms": view.started_at_ms,
        "finished_at_ms": view.finished_at_ms,
        "retry_at_ms": view.retry_at_ms,
        "counts": (view.attempts, view.deliveries),
        "worker_id": view.worker_id,
        "token": view.lease_token,
        "progress": (view.progress, view.progress_content_type),
        "result": (view.result, view.result_content_type),
        "error": view.error,
        "cancel_requested": view.cancel_requested,
        "body": (view.payload, view.priority, view.policy, view.requires, view.meta),
    }


def expected_task(task):
    kind = task.new.kind
    return {
        "id": task.new.id,
        "status": task.status,
        "run_at_ms": task.run_at_ms,
        "created_at_ms": task.created_ms,
        "started_at_ms": task.started_ms,
        "finished_at_ms": task.finished_ms,
        "retry_at_ms": task.retry_ms,
        "counts": (task.attempts, task.deliveries),
        "worker_id": task.worker_id,
        "token": task.token,
        "progress": task.progress,
        "result": task.result,
        "error": task.error,
        "cancel_requested": task.is_to_cancel,
        "body": (
            *(task.new.payload, kind.priority, kind.policy, kind.requires),
            task.new.extras.meta if task.new.extras else (),
        ),
    }


def worker_of(view):
    return view.id, view.status, view.node, view.current_tasks, view.tasks_processed


def expected_worker(worker):
    held = tuple(task.new.id for task in worker.held.values())
    return worker.id, worker.status, worker.node, held, worker.processed


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
