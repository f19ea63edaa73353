"""Pushing to a worker that heard nothing: everything is found by comparing, as after a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.core.commands import Cancel, Drain, Leave, Offer, Register, Release, Submit
from cluster.core.model import NewTask
from cluster.core.queries import WorkerLeases
from cluster.replica import Replica
from gateway import frames
from gateway.frames import Pushed
from gateway.ids import new_id
from gateway.outbox import Outbox
from gateway.outcomes import accepted
from gateway.pushing import Pushing
from gateway.watching import Watching

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT_SECONDS = 10.0


class Told:
    """A pushing that hears no events, and what comes out of it."""

    def __init__(self, replica: Replica, worker_id: str) -> None:
        self.replica = replica
        self.worker_id = worker_id
        self._outbox = Outbox()
        self._messages: asyncio.Queue[Pushed] = asyncio.Queue()
        self.pushing = Pushing(replica, worker_id, self._outbox)
        self.tasks = [
            asyncio.create_task(self.pushing.run(Watching())),
            asyncio.create_task(self._outbox.run(self._send)),
        ]

    async def next(self) -> Any:
        """What is told next, as kind and content."""
        async with asyncio.timeout(WAIT_SECONDS):
            return tuple(await self._messages.get())

    async def _send(self, message: bytes) -> None:
        for pushed in frames.read_told(message):
            assert isinstance(pushed, Pushed)
            self._messages.put_nowait(pushed)

    async def tokens(self) -> dict[str, int]:
        """The leases that stand, by task."""
        leases = (await self.replica.read(WorkerLeases(self.worker_id))).value
        return {lease.task_id: lease.token for lease in leases}


@pytest_asyncio.fixture(loop_scope="module")
async def told(replica: Replica, queue: str) -> AsyncIterator[Told]:
    """A worker of the test's own queue with room for three, of which it hears nothing."""
    register = Register(new_id(), "w", (queue,), (), (), 3, "node1")
    worker_id = accepted(await replica.propose(register)).reply.worker_id
    await replica.propose(Offer(worker_id, 2, 3, is_standing=True))
    told = Told(replica, worker_id)
    yield told
    for task in told.tasks:
        task.cancel()
    await asyncio.gather(*told.tasks, return_exceptions=True)


async def submit(replica: Replica, queue: str) -> str:
    """Submit a task and return its id."""
    task = NewTask.of(new_id(), "process", b"1", "application/json", queue=queue)
    await replica.propose(Submit((task,)))
    return task.id


async def test_leases_that_came_unheard_are_told_and_only_once(
    told: Told, replica: Replica, queue: str
) -> None:
    ids = [await submit(replica, queue) for _ in range(2)]
    told.pushing.restate(())
    kind, leases = await told.next()

    third = await submit(replica, queue)
    told.pushing.ring()
    _, later = await told.next()

    assert (kind, [lease["id"] for lease in leases]) == ("leased", ids)
    assert [lease["id"] for lease in later] == [third]


async def test_what_the_worker_names_is_not_told_again(
    told: Told, replica: Replica, queue: str
) -> None:
    known, unknown = [await submit(replica, queue) for _ in range(2)]

    told.pushing.restate([(await told.tokens())[known]])

    _, leases = await told.next()
    assert [lease["id"] for lease in leases] == [unknown]


async def test_ends_and_cancellations_that_came_unheard_are_told_in_one_frame(
    told: Told, replica: Replica, queue: str
) -> None:
    lost, cancelled = [await submit(replica, queue) for _ in range(2)]
    tokens = await told.tokens()
    await replica.propose(Offer(told.worker_id, 4, 0, is_standing=True))
    await replica.propose(Release(lost, tokens[lost]))
    await replica.propose(Cancel(cancelled))
    await replica.propose(Drain(told.worker_id))

    told.pushing.restate(tokens.values())

    orders = {"cancel": [cancelled], "lost": [tokens[lost]], "drain": True}
    assert await told.next() == ("orders", orders)


async def test_an_end_of_the_session_that_came_unheard_is_told_and_is_the_last_word(
    told: Told, replica: Replica
) -> None:
    await replica.propose(Leave(told.worker_id))

    told.pushing.restate(())

    assert await told.next() == ("gone", "worker_unknown")
    await asyncio.wait_for(told.tasks[0], WAIT_SECONDS)
