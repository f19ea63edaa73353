"""Polls: a worker waits for tasks over plain HTTP, and whoever hangs up loses none.

A poll is an offer of its own epoch. It ends with two commands in one batch, the same offer again
and an empty one of the next epoch: the first answers exactly what was leased under the poll, the
second closes it, and nothing falls between them.

Epochs come from the log, not from a clock. A poll begins with a linearizable read, whose index is
at or past the offers of every poll answered before it, on whichever node; so its epoch is greater.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from cluster.answers import Committed, Consistency
from cluster.core.commands import Heartbeat, Offer, Offered, Refused, Release
from cluster.core.model import Lease, WorkerStatus
from cluster.core.queries import GetWorker, WorkerLeases, WorkerProgress
from cluster.errors import QuorateError
from cluster.replica import Replica
from gateway.ids import random_bits
from gateway.outcomes import accepted
from gateway.problems import Problem
from gateway.schema import Wanted
from gateway.sizes import ANSWER_BYTES_MAX, leases_fitting
from gateway.watching import Bell, Watching

_log = logging.getLogger(__name__)

REMEMBERED_MAX = 10_000  # Workers whose newest request id is kept for a repeat.
_DRAWN_BITS = 15  # Keeps polls apart that two nodes begin for one worker at the same index.


Given = Committed[tuple[Lease, ...]]


class Poll(NamedTuple):
    """One offer that does not stand: whose, of which epoch, for how many."""

    worker_id: str
    epoch: int  # Even; the next odd number withdraws it.
    slots: int

    def offer(self) -> Offer:
        """Ask; asked again, it answers what it was given and takes no more for it."""
        return Offer(self.worker_id, self.epoch, self.slots, is_standing=False)

    def withdrawal(self) -> Offer:
        """Ask for nothing more."""
        return Offer(self.worker_id, self.epoch + 1, 0, is_standing=False)


class Known(NamedTuple):
    """A worker's newest request: by its id, what a repeat is to be answered."""

    request_id: str | None
    poll: Poll
    tokens: frozenset[int] | None = None  # None until it was answered.


class Polls:
    """The long polls of this node: one at a time a worker, the others wait for their turn."""

    def __init__(self, replica: Replica, watching: Watching) -> None:
        self._replica = replica
        self._watching = watching
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._running: dict[str, tuple[str | None, Bell]] = {}
        self._remembered: OrderedDict[str, Known] = OrderedDict()
        self._returning: set[asyncio.Task[None]] = set()

    async def lease(self, worker_id: str, wanted: Wanted) -> Given:
        """Tasks for the worker, waited for; none when its turn did not come in time.

        Raises:
            Problem: there is no such worker, or its session has ended.
            QuorateError: as `Replica.propose`; a repeat with the same request id loses nothing.
        """
        until = asyncio.get_running_loop().time() + wanted.wait_seconds
        is_repeat = self._end_repeated(worker_id, wanted.request_id)
        turn = self._turns.setdefault(worker_id, asyncio.Lock())
        try:
            async with asyncio.timeout_at(None if is_repeat else until):
                await turn.acquire()
        except TimeoutError:
            status = self._replica.status()
            return Committed((), status.applied_index, status.term)
        try:
            return await self._fitting(worker_id, await self._in_turn(worker_id, wanted, until))
        finally:
            turn.release()

    async def close(self) -> None:
        """Wait until what callers left behind was given back."""
        await asyncio.gather(*self._returning)

    async def _in_turn(self, worker_id: str, wanted: Wanted, until: float) -> Given:
        if again := await self._answered_before(worker_id, wanted.request_id):
            return again
        if wanted.lease_tokens is not None and (unseen := await self._unseen(worker_id, wanted)):
            return unseen
        poll = Poll(worker_id, await self._next_epoch(worker_id), wanted.slots)
        known = Known(wanted.request_id, poll)
        self._remember(known)
        with self._watching.worker_leasing(worker_id) as bell:
            self._running[worker_id] = (wanted.request_id, bell)
            try:
                given = await self._run(poll, bell, until)
            finally:
                del self._running[worker_id]
        self._remember(known._replace(tokens=frozenset(lease.token for lease in given.reply)))
        return given

    async def _run(self, poll: Poll, bell: Bell, until: float) -> Given:
        closing: asyncio.Task[Given] | None = None
        try:
            if asyncio.get_running_loop().time() < until:
                offered = _taken(await self._replica.propose(poll.offer()))
                if len(offered.reply) >= poll.slots:
                    return offered
                if not offered.reply:
                    await bell.wait(until)
            # Once withdrawn, the offer answers no more: only this one task knows what it was given.
            closing = asyncio.create_task(self._close(poll))
            return await asyncio.shield(closing)
        except asyncio.CancelledError:
            self._give_back(poll, closing)
            raise

    async def _close(self, poll: Poll) -> Given:
        """Withdraw the offer and answer all that was leased under it."""
        taken, withdrawn = await asyncio.gather(
            self._replica.propose(poll.offer()), self._replica.propose(poll.withdrawal())
        )
        _taken(withdrawn)
        return _taken(taken)

    async def _next_epoch(self, worker_id: str) -> int:
        answered = await self._replica.read(GetWorker(worker_id))
        if answered.value is None:
            raise Problem("worker_unknown", f"no worker {worker_id} is registered: register it")
        if answered.value.status is WorkerStatus.LOST:
            raise Problem("worker_lost", f"the session of worker {worker_id} ended: register anew")
        return (answered.index << _DRAWN_BITS | random_bits(_DRAWN_BITS)) << 1

    async def _answered_before(self, worker_id: str, request_id: str | None) -> Given | None:
        """What the same request was given, while it still stands; None if it asks anew."""
        known = self._remembered.get(worker_id)
        if known is None or request_id is None or known.request_id != request_id:
            return None
        if known.tokens is None:  # It ended without an answer: perhaps it was leased something.
            closed = await self._close(known.poll)
            return closed if closed.reply else None
        answered = await self._replica.read(WorkerLeases(worker_id))
        leases = tuple(lease for lease in answered.value if lease.token in known.tokens)
        return Committed(leases, answered.index, answered.term) if leases else None

    async def _unseen(self, worker_id: str, wanted: Wanted) -> Given | None:
        """What the worker was given, on whichever node, and does not name; None if nothing."""
        heartbeat = Heartbeat(worker_id, wanted.lease_tokens or (), self._replica.node_id)
        renewed = accepted(await self._replica.propose(heartbeat))
        answered = await self._replica.read(
            WorkerLeases(worker_id), consistency=Consistency.STALE, min_index=renewed.index
        )
        named = frozenset(heartbeat.lease_tokens)
        unseen = tuple(lease for lease in answered.value if lease.token not in named)
        return Committed(unseen[: wanted.slots], renewed.index, renewed.term) if unseen else None

    async def _fitting(self, worker_id: str, given: Given) -> Given:
        """Those of the leases that one answer has room for; the others go back at once."""
        if not given.reply:
            return given
        answered = await self._replica.read(
            WorkerProgress(worker_id), consistency=Consistency.STALE, min_index=given.index
        )
        count = leases_fitting(given.reply, answered.value, ANSWER_BYTES_MAX)
        if count < len(given.reply):
            self._return(self._release_all(worker_id, given.reply[count:]))
        return replace(given, reply=given.reply[:count])

    def _remember(self, known: Known) -> None:
        self._remembered[known.poll.worker_id] = known
        self._remembered.move_to_end(known.poll.worker_id)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    def _end_repeated(self, worker_id: str, request_id: str | None) -> bool:
        """Let the first copy of a repeated request end, if it runs: nobody listens to it now."""
        running_id, bell = self._running.get(worker_id, (None, None))
        if bell is None or request_id is None or running_id != request_id:
            return False
        bell.ring()
        return True

    def _give_back(self, poll: Poll, closing: asyncio.Task[Given] | None) -> None:
        closed = closing or asyncio.create_task(self._close(poll))
        self._return(self._release_given(poll.worker_id, closed))

    def _return(self, returning: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(returning)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _release_given(self, worker_id: str, closed: asyncio.Task[Given]) -> None:
        """Hand back what a caller that hung up was leased."""
        try:
            given = await closed
        except (QuorateError, Problem) as error:
            _log.info("a poll of worker %s was not withdrawn: %s", worker_id, error)
        else:
            await self._release_all(worker_id, given.reply)

    async def _release_all(self, worker_id: str, leases: Iterable[Lease]) -> None:
        """Hand back what the worker will not hear of.

        When that fails, the leases go back all the same: no heartbeat of the worker names them.
        """
        try:
            releases = (Release(lease.task_id, lease.token) for lease in leases)
            await asyncio.gather(*map(self._replica.propose, releases))
        except QuorateError as error:
            _log.info("leases of worker %s were not handed back: %s", worker_id, error)


def _taken(committed: Committed[Offered | Refused]) -> Given:
    offered = accepted(committed)
    return Committed(offered.reply.leases, offered.index, offered.term)
