"""Polls at their most awkward moments, against a real replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.answers import Consistency
from cluster.core.commands import Cancel, Offer, Register, Submit
from cluster.core.model import Event, NewTask
from cluster.core.queries import GetTask, GetWorker, WorkerLeases
from cluster.replica import Replica
from gateway.ids import new_id
from gateway.outcomes import accepted
from gateway.polls import Polls
from gateway.schema import Wanted
from gateway.watching import Watching

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def polls(replica: Replica) -> AsyncIterator[Polls]:
    """The polls of a gateway, with their event reader."""
    watching = Watching()
    reader = asyncio.create_task(watching.run(replica))
    yield Polls(replica, watching)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="module")
async def worker_id(replica: Replica, queue: str) -> str:
    """A worker of the test's own queue, with room for four."""
    command = Register(new_id(), "w", (queue,), (), (), 4, "node1")
    return accepted(await replica.propose(command)).reply.worker_id


def task_in(queue: str) -> NewTask:
    """A task for the queue."""
    return NewTask.of(new_id(), "process", b"1", "application/json", queue=queue)


async def begun(replica: Replica, index: int) -> None:
    """Wait for the entry after *index*: the offer of the poll just begun."""
    await replica.read(GetWorker(""), consistency=Consistency.STALE, min_index=index + 1)


@pytest.mark.parametrize("turns", range(12))
async def test_whenever_its_caller_hangs_up_a_task_is_not_lost(
    replica: Replica, polls: Polls, worker_id: str, queue: str, turns: int
) -> None:
    index = replica.status().applied_index
    polling = asyncio.create_task(polls.lease(worker_id, Wanted(4, 60, None)))
    await begun(replica, index)
    task = task_in(queue)
    await replica.propose(Submit((task,)))  # From now on it is leased to a poll that waits.

    for _ in range(turns):  # Each lets everything run that is ready: another moment to hang up.
        await asyncio.sleep(0)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await polls.close()

    held = (await replica.read(WorkerLeases(worker_id))).value
    view = (await replica.read(GetTask(task.id))).value
    assert polling.cancelled()
    assert held == ()
    assert view is not None
    assert (view.status, view.attempts) == ("pending", 0)


async def test_a_poll_beats_the_offers_of_every_poll_before_it(
    replica: Replica, polls: Polls, worker_id: str, queue: str
) -> None:
    counts = []
    for _ in range(3):
        given = await polls.lease(worker_id, Wanted(1, 0, None))
        counts.append(len(given.reply))
        await replica.propose(Submit((task_in(queue),)))

    assert counts == [0, 1, 1]


async def test_what_one_answer_has_no_room_for_goes_back_at_once(
    replica: Replica, polls: Polls, worker_id: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.polls.ANSWER_BYTES_MAX", 10_000)
    ids = [new_id() for _ in range(3)]
    for id_ in ids:
        task = NewTask.of(id_, "process", b"1" * 2_500, "application/json", queue=queue)
        await replica.propose(Submit((task,)))

    given = await polls.lease(worker_id, Wanted(4, 0, None))
    await polls.close()

    left = (await replica.read(GetTask(ids[2]))).value
    assert [lease.task_id for lease in given.reply] == ids[:2]
    assert left is not None
    assert (left.status, left.attempts) == ("pending", 0)


async def test_an_offer_of_another_node_ends_what_this_one_gives(
    replica: Replica, polls: Polls, worker_id: str, queue: str
) -> None:
    index = replica.status().applied_index
    polling = asyncio.create_task(polls.lease(worker_id, Wanted(1, 60, None)))
    await begun(replica, index)
    elsewhere = Offer(worker_id, 1 << 60, 1, is_standing=False)
    await replica.propose(elsewhere)

    await replica.propose(Submit((task_in(queue),)))
    given = await polling
    given_elsewhere = accepted(await replica.propose(elsewhere)).reply.leases

    assert given.reply == ()
    assert len(given_elsewhere) == 1


async def test_a_turn_that_does_not_come_in_time_is_no_error(
    replica: Replica, polls: Polls, worker_id: str
) -> None:
    index = replica.status().applied_index
    polling = asyncio.create_task(polls.lease(worker_id, Wanted(1, 60, None)))
    await begun(replica, index)

    given = await polls.lease(worker_id, Wanted(1, 0.01, None))

    assert given.reply == ()
    assert given.index > index
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await polls.close()


async def test_a_bell_rings_for_its_own_task_and_only_at_its_end() -> None:
    watching = Watching()

    with watching.task_ending("a") as bell:
        watching.dispatch(Event(1, 0, 1, 0, "leased", task_id="a", status="processing"))
        watching.dispatch(Event(2, 0, 1, 0, "completed", task_id="b", status="completed"))
        assert not await bell.wait(0)
        watching.dispatch(Event(3, 0, 1, 0, "completed", task_id="a", status="completed"))
        assert await bell.wait(float("inf"))

    assert bell.index == 3


async def test_a_stopping_node_rings_every_bell_and_those_hung_up_later() -> None:
    watching = Watching()

    with watching.task_ending("a") as early:
        watching.close()
        with watching.worker_leasing("w") as late:
            assert await early.wait(float("inf"))
            assert await late.wait(float("inf"))


class Failing:
    """A listener with a bug."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()

    def hear(self, _event: Event) -> None:
        """Fail."""
        self.failed.set()
        raise ZeroDivisionError

    def ring(self) -> None:
        """Nothing to look for."""


async def test_a_listener_that_fails_leaves_nobody_else_waiting(
    replica: Replica, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    watching = Watching()
    reader = asyncio.create_task(watching.run(replica))
    worker_id, task = new_id(), task_in(queue)
    failing = Failing()
    with watching.telling(worker_id, failing):
        await asyncio.sleep(0)  # The reader has begun.
        await replica.propose(Register(worker_id, "w", (queue,), (), (), 1, "node1"))
        await asyncio.wait_for(failing.failed.wait(), 10)
    with watching.task_ending(task.id) as bell:
        await replica.propose(Submit((task,)))
        await replica.propose(Cancel(task.id))
        rang = await bell.wait(asyncio.get_running_loop().time() + 10)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)

    assert rang
    assert "begins anew" in caplog.text
