"""Whatever is done in whatever order: invariants hold, and a model of a few lines agrees.

The model knows only what a user is promised: which tasks were taken in, which token is the newest
of each, and that one completion at most is accepted, under the newest token.
"""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from cluster.core.commands import (
    BeginTerm,
    Cancel,
    Complete,
    Drain,
    Fail,
    Heartbeat,
    Leave,
    Offer,
    Refused,
    Register,
    Release,
    Report,
    Retry,
    Submit,
    Tick,
)
from cluster.core.invariants import check
from cluster.core.machine import Machine
from cluster.core.model import Backoff, Idempotency, NewTask, Policy
from cluster.core.queries import Count, GetTask
from cluster.core.queue_commands import (
    PauseQueue,
    PurgeQueue,
    RemoveDead,
    ResumeQueue,
    RetryDead,
)
from cluster.core.queue_queries import GetQueue, ListDead, ListQueues

IDS = st.sampled_from([f"t{n}" for n in range(12)])
WORKERS = st.sampled_from([f"w{n}" for n in range(6)])
LEASES = st.tuples(IDS, st.integers(1, 30))
POLICIES = st.builds(
    Policy,
    max_attempts=st.integers(1, 3),
    backoff=st.just(Backoff(initial_ms=100)),
    timeout_ms=st.sampled_from([None, 300]),
    ttl_ms=st.sampled_from([None, 500]),
    retention_ms=st.just(10**9),  # So that the model need not forget.
)
TASKS = st.builds(
    NewTask.of,
    id=IDS,
    type=st.sampled_from("xy"),
    payload=st.just(b""),
    content_type=st.just("json"),
    queue=st.sampled_from(["default", "other"]),
    priority=st.integers(0, 9),
    delay_ms=st.sampled_from([0, 0, 200]),
    policy=POLICIES,
    requires=st.sampled_from([(), (), ("gpu",)]),
    idempotency=st.sampled_from([None, None, Idempotency("k", b"1"), Idempotency("k", b"2")]),
)
QUEUES = st.sampled_from(["default", "other"])


class Clients(RuleBasedStateMachine):
    """Submitters and workers, some of them confused."""

    given_leases = Bundle("given_leases")

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(lease_ms=1_000, heartbeat_ms=300)
        self.index = 0
        self.time_ms = 0
        self.newest: dict[str, int] = {}  # Task id -> its newest token.
        self.completed: dict[str, tuple[int, bytes]] = {}
        self.submitted: set[str] = set()  # And not removed since.
        self.paused: set[str] = set()
        self.keys: dict[str, tuple[bytes, str]] = {}  # Key -> the body and task it stands for.

    def do(self, command):
        self.index += 1
        applied = self.machine.apply_entry(
            [command],
            index=self.index,
            term=1,
            cluster_time_ms=self.time_ms,
            wall_time_ms=self.time_ms,
        )
        for event in applied.events:
            if event.kind == "removed":
                assert event.status in ("scheduled", "pending", "retrying", "failed")
                self.submitted.remove(event.task_id)
            if event.kind == "leased":
                assert event.queue not in self.paused
                assert event.lease_token > max(self.newest.values(), default=0)
                assert event.task_id not in self.completed
                self.newest[event.task_id] = event.lease_token
        return applied.replies[0]

    @rule(tasks=st.lists(TASKS, min_size=1, max_size=4))
    def submit(self, tasks):
        reply = self.do(Submit(tuple(tasks)))
        if isinstance(reply, Refused):
            return
        for new, told in zip(tasks, reply.tasks, strict=True):
            key, body = new.idempotency or (None, b"")
            if key in self.keys:
                assert told.is_duplicate
                assert (body, told.task_id) == self.keys[key]
            else:
                assert told.task_id == new.id
                assert told.is_duplicate == (new.id in self.submitted)
                self.submitted.add(new.id)
                if key is not None:
                    self.keys[key] = body, new.id
            assert (told.status is None) == (told.task_id not in self.submitted)

    @rule(
        worker=WORKERS,
        types=st.sampled_from([(), ("x",)]),
        tags=st.sampled_from([(), ("gpu",)]),
        slots=st.integers(0, 3),
    )
    def register(self, worker, types, tags, slots):
        self.do(Register(worker, worker, ("default", "other"), types, tags, slots, "n1"))

    @rule(worker=WORKERS, epoch=st.integers(0, 20), slots=st.integers(0, 4), standing=st.booleans())
    def offer(self, worker, epoch, slots, standing):
        self.do(Offer(worker, epoch, slots, standing))

    @rule(worker=WORKERS, tokens=st.lists(st.integers(1, 30), max_size=20))
    def heartbeat(self, worker, tokens):
        self.do(Heartbeat(worker, tuple(tokens), "n1"))

    @rule(command=st.one_of(st.builds(Drain, WORKERS), st.builds(Leave, WORKERS)))
    def go(self, command):
        self.do(command)

    @rule(target=given_leases)
    def learn_leases(self):
        return dict(self.newest)

    @rule(known=given_leases, pick=st.integers(0, 11), result=st.binary(max_size=1))
    def complete_what_was_given(self, known, pick, result):
        if known:
            task_id = sorted(known)[pick % len(known)]
            self.complete((task_id, known[task_id]), result)

    @rule(lease=LEASES, result=st.binary(max_size=1))
    def complete(self, lease, result):
        task_id, token = lease
        reply = self.do(Complete(task_id, token, result))
        if isinstance(reply, Refused):
            assert self.completed.get(task_id, (0,))[0] != token
        elif reply.is_duplicate:
            assert self.completed[task_id][0] == token
        else:
            assert self.newest[task_id] == token
            assert task_id not in self.completed
            self.completed[task_id] = (token, result)

    @rule(
        lease=LEASES,
        make=st.sampled_from(
            [
                lambda task_id, token: Fail(task_id, token, "broken"),
                lambda task_id, token: Fail(task_id, token, "broken", retry=False),
                Release,
                lambda task_id, token: Report(task_id, token, b"half"),
            ]
        ),
    )
    def say(self, lease, make):
        self.do(make(*lease))

    @rule(known=given_leases, pick=st.integers(0, 11))
    def fail_what_was_given(self, known, pick):
        if known:
            task_id = sorted(known)[pick % len(known)]
            self.do(Fail(task_id, known[task_id], "broken"))

    @rule(command=st.one_of(st.builds(Cancel, IDS), st.builds(Retry, IDS)))
    def steer(self, command):
        self.do(command)

    @rule(queue=QUEUES)
    def pause(self, queue):
        self.paused.add(queue)
        self.do(PauseQueue(queue))

    @rule(queue=QUEUES)
    def resume(self, queue):
        self.paused.discard(queue)
        self.do(ResumeQueue(queue))

    @rule(queue=QUEUES)
    def purge(self, queue):
        self.do(PurgeQueue(f"o{self.index}", queue))
        view = self.machine.answer(GetQueue(queue))
        waiting = {status: n for status, n in view.by_status if n} if view else {}
        assert not waiting.keys() & {"scheduled", "pending", "retrying"}

    @rule(queue=st.one_of(st.none(), QUEUES), type_=st.sampled_from([None, "x", "y"]))
    def retry_dead(self, queue, type_):
        self.do(RetryDead(f"o{self.index}", queue, type_))
        page = self.machine.answer(ListDead(queue, type_))
        assert (page.tasks, page.total) == ((), 0)

    @rule(task_id=IDS)
    def remove_dead(self, task_id):
        was_there = task_id in self.submitted
        reply = self.do(RemoveDead(task_id))
        is_there = task_id in self.submitted
        assert isinstance(reply, Refused) == (is_there == was_there)

    @rule(ms=st.sampled_from([1, 100, 300, 1_000]))
    def let_time_pass(self, ms):
        self.time_ms += ms
        self.do(Tick())

    @rule()
    def elect(self):
        self.do(BeginTerm("n2"))

    @invariant()
    def every_invariant_holds(self):
        assert check(self.machine) == []

    @invariant()
    def nothing_due_is_left_undone(self):
        cluster_ms, wall_ms = self.machine.next_deadline()
        assert cluster_ms is None or cluster_ms > self.time_ms
        assert wall_ms is None or wall_ms > self.time_ms

    @invariant()
    def what_is_paused_is_told(self):
        page = self.machine.answer(ListQueues())
        assert {queue.name for queue in page.queues if queue.is_paused} == self.paused

    @invariant()
    def nothing_submitted_is_lost(self):
        counts = self.machine.answer(Count())
        assert sum(number for _, number in counts.by_status) == len(self.submitted)
        assert counts.completed_ever == len(self.completed)

    @invariant()
    def a_result_stays_as_it_was_accepted(self):
        for task_id, (_, result) in self.completed.items():
            task = self.machine.answer(GetTask(task_id))
            assert (task.status, task.result) == ("completed", result)


EXAMPLES = int(os.environ.get("QUORATE_TEST_EXAMPLES", "200"))

TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
