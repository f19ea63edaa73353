"""What was promised of queues, keys and workers, on entries made by hand: each breach is seen."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.simulation.promises import Promises
from cluster.core.commands import (
    Complete,
    Drain,
    Fail,
    Heartbeat,
    Offer,
    Register,
    Resume,
    Submit,
    Submitted,
    SubmittedTask,
    Suspend,
)
from cluster.core.machine import Machine
from cluster.core.model import Event, Idempotency, NewTask, Policy, TaskStatus
from cluster.core.queue_commands import PauseQueue, PurgeQueue, RemoveDead, ResumeQueue, RetryDead

WORKER = "worker"


class Log:
    """Entries applied one after the other, and the rules that they broke."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.promises = Promises(self.machine)
        self.index = 0

    def entry(self, *commands: Any, told: dict[str, Any] | None = None, **event: Any) -> list[str]:
        """Apply *commands*; then as if the first had been answered with *told*, and as if *event*
        had happened besides."""
        self.index += 1
        self.promises.before()
        done = self.machine.apply_entry(
            commands,
            index=self.index,
            term=1,
            cluster_time_ms=self.index * 10,
            wall_time_ms=1_000_000 + self.index * 10,
        )
        answered = list(zip(commands, done.replies, strict=True))
        if told is not None:
            answered[0] = commands[0], done.replies[0]._replace(**told)
        events = [*done.events, *([Event(self.index, 99, 1, 0, **event)] if event else [])]
        return [rule for rule, _ in self.promises.after(self.index, answered, events)]


@pytest.fixture
def log() -> Log:
    return Log()


def submit(id_: str, key: Idempotency | None = None) -> Submit:
    policy = Policy(max_attempts=1)
    return Submit((NewTask.of(id_, "echo", b"", "text/plain", policy=policy, idempotency=key),))


def a_worker() -> tuple[Register, Offer]:
    joins = Register(WORKER, "", ("default",), (), (), 2, "node2")
    return joins, Offer(WORKER, 1, 2, is_standing=True)


def leased(id_: str) -> dict[str, Any]:
    return {
        "kind": "leased", "task_id": id_, "queue": "default", "worker_id": WORKER,
        "status": TaskStatus.PROCESSING,
    }  # fmt: skip


def test_what_the_machine_does_breaks_nothing(log: Log) -> None:
    key = Idempotency("key", b"body")
    for commands in (
        [submit("a", key)],
        [submit("b", key)],
        [submit("c", key._replace(body=b"another"))],
        [*a_worker()],
        [Fail("a", 1, "no", retry=False)],
        [PauseQueue("default"), submit("d"), submit("e")],
        [Suspend("node2"), ResumeQueue("default")],
        [PurgeQueue("purge", "default")],
        [RetryDead("retry"), Resume("node2")],
        [Fail("a", 2, "no", retry=False)],
        [RemoveDead("a")],
        [Drain(WORKER), submit("f")],
    ):
        assert log.entry(*commands) == []


def test_a_lease_from_a_paused_queue_is_seen(log: Log) -> None:
    log.entry(PauseQueue("default"), submit("a"))

    assert log.entry(submit("b"), **leased("a")) == ["a paused queue's tasks wait"]
    assert log.entry(ResumeQueue("default"), **leased("a")) == []


def test_a_lease_to_a_draining_worker_is_seen(log: Log) -> None:
    log.entry(*a_worker())
    log.entry(Drain(WORKER), submit("a"))

    assert log.entry(submit("b"), **leased("a")) == ["a draining worker gets nothing new"]


def test_a_lease_to_a_silent_nodes_worker_is_seen(log: Log) -> None:
    log.entry(*a_worker())
    log.entry(Suspend("node2"), submit("a"))

    assert log.entry(submit("b"), **leased("a")) == ["a silent node's workers get nothing new"]
    assert log.entry(Heartbeat(WORKER, (), "node1")) == []


@pytest.mark.parametrize(
    "told", [SubmittedTask("b", TaskStatus.PENDING, is_duplicate=False)], ids=["another_task"]
)
def test_a_second_task_of_one_key_is_seen(log: Log, told: SubmittedTask) -> None:
    key = Idempotency("key", b"body")
    log.entry(submit("a", key))

    assert log.entry(submit("b", key), told={"tasks": (told,)}) == ["one key, one task"]


def test_a_key_that_stood_for_another_body_is_seen(log: Log) -> None:
    log.entry(submit("a", Idempotency("key", b"body")))
    found = log.promises._submitted(
        submit("b", Idempotency("key", b"another")),
        Submitted((SubmittedTask("a", TaskStatus.PENDING, is_duplicate=True),)),
    )

    assert [rule for rule, _ in found] == ["one key, one task"]


def test_a_conflict_without_a_cause_is_seen(log: Log) -> None:
    key = Idempotency("key", b"body")
    log.entry(submit("a", key))
    refused = log.machine.apply_entry(
        [submit("b", key._replace(body=b"another"))],
        index=2, term=1, cluster_time_ms=20, wall_time_ms=1_000_020,
    ).replies[0]  # fmt: skip

    found = log.promises._submitted(submit("c", Idempotency("other", b"body")), refused)

    assert [rule for rule, _ in found] == ["one key, one task"]


def test_a_removal_that_nobody_asked_for_is_seen(log: Log) -> None:
    log.entry(submit("a"))

    assert log.entry(submit("b"), kind="removed", task_id="a", queue="default") == [
        "only what was meant is removed"
    ]


def test_a_purge_that_takes_what_runs_is_seen(log: Log) -> None:
    log.entry(*a_worker(), submit("a"))

    assert log.entry(
        PurgeQueue("purge", "default"), kind="removed", task_id="a", queue="default"
    ) == ["only what was meant is removed"]


def test_an_operation_that_leaves_something_is_seen(log: Log) -> None:
    log.entry(*a_worker(), submit("a"), submit("b"))
    log.entry(Complete("a", 1, b""))
    # As if it waited all the while, and the purge had not come to it.
    log.promises._places["b"].status = TaskStatus.PENDING

    assert log.entry(PurgeQueue("purge", "default")) == ["an operation reaches all that it means"]
