"""Workers' sessions over `/connect`: standing offers, and what workers are told unasked.

A session tells its worker what the state holds and the worker does not know: leases that it was
given, leases that stand no more, runs to cancel. So whoever comes from a node that died is told at
once what was leased to him meanwhile.

An offer's epoch is the worker's, doubled. The odd number after it withdraws the offer when its
connection ends, which does nothing if the worker has offered anew by then, through whichever node.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

from cluster.answers import Consistency
from cluster.core.commands import Command, Heartbeat, Offer, Refused
from cluster.core.queries import GetWorker
from cluster.errors import QuorateError
from cluster.replica import Replica
from gateway.outbox import Outbox
from gateway.outcomes import accepted
from gateway.problems import Problem
from gateway.pushing import Pushing
from gateway.schema import Offering
from gateway.watching import Watching

R = TypeVar("R")

WITHDRAWAL_SECONDS = 1.0  # Without a leader for so long, the node itself is missed soon.

_log = logging.getLogger(__name__)


class Session:
    """One worker's standing offer through one connection."""

    def __init__(self, worker_id: str, outbox: Outbox, epoch: int) -> None:
        self.worker_id = worker_id
        self.outbox = outbox
        self.epoch = epoch
        self.pushing: Pushing | None = None  # Once an offer was taken.
        self.task: asyncio.Task[None] | None = None  # That pushes.


class Sessions:
    """The sessions of this node, one a worker: the newest connection has it."""

    def __init__(self, replica: Replica, watching: Watching) -> None:
        self._replica = replica
        self._watching = watching
        self._by_worker: dict[str, Session] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def offer(self, worker_id: str, offering: Offering, outbox: Outbox) -> int:
        """Take a worker's offer; what it has to know from now on goes into *outbox*.

        Returns the log index of the offer.

        Raises:
            Problem: the worker is unknown or lost, or an offer of a higher epoch was taken.
            QuorateError: as `Replica.propose`; repeated with the same epoch it changes nothing.
        """
        session = self._session(worker_id, offering.epoch, outbox)
        tokens = offering.lease_tokens
        if tokens is None and session.pushing is None:
            tokens = ()  # It names nothing, so all that it holds is news to it.
        try:
            index = await self._commit(worker_id, offering, tokens)
        except Problem:
            if session.epoch == offering.epoch:
                self._forget(session)
            raise
        except asyncio.CancelledError:  # It was taken back, and may stand by now.
            if self._by_worker.get(worker_id) is session and session.pushing is None:
                self._end(session)
            raise
        if self._by_worker.get(worker_id) is not session:
            raise _superseded(worker_id)
        self._push(session, tokens)
        return index

    def end(self, outbox: Outbox) -> None:
        """Withdraw the offers of a connection that has ended."""
        for session in [each for each in self._by_worker.values() if each.outbox is outbox]:
            self._end(session)

    async def close(self) -> None:
        """Wait until every withdrawal has ended, one way or the other."""
        await asyncio.gather(*self._ending)

    def _session(self, worker_id: str, epoch: int, outbox: Outbox) -> Session:
        """The worker's session through this connection, which is its only one from now on."""
        known = self._by_worker.get(worker_id)
        if known is not None and known.epoch > epoch:
            raise _superseded(worker_id)
        if known is not None and known.outbox is outbox:
            known.epoch = epoch
            return known
        if known is not None:
            self._forget(known)
        session = self._by_worker[worker_id] = Session(worker_id, outbox, epoch)
        return session

    async def _commit(
        self, worker_id: str, offering: Offering, tokens: tuple[int, ...] | None
    ) -> int:
        """Bring the worker to this node and state its offer, in one batch."""
        epoch = offering.epoch << 1
        offer = Offer(worker_id, epoch, offering.slots, is_standing=True)
        if tokens is None:
            index = await self._propose(offer)
        else:
            heartbeat = Heartbeat(worker_id, tokens, self._replica.node_id)
            _, index = await asyncio.gather(self._propose(heartbeat), self._propose(offer))
        stale = Consistency.STALE  # This node's state: it has applied the offer.
        worker = await self._replica.read(GetWorker(worker_id), consistency=stale, min_index=index)
        if worker.value is None or worker.value.epoch != epoch:
            raise _superseded(worker_id)
        return index

    async def _propose(self, command: Command[R | Refused]) -> int:
        return accepted(await self._replica.propose(command)).index

    def _push(self, session: Session, tokens: tuple[int, ...] | None) -> None:
        if session.pushing is None:
            session.pushing = Pushing(self._replica, session.worker_id, session.outbox)
            session.task = asyncio.create_task(session.pushing.run(self._watching))
            session.task.add_done_callback(_note_failure)
        session.pushing.restate(tokens)

    def _end(self, session: Session) -> None:
        self._forget(session)
        task = asyncio.create_task(self._withdraw(session))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _forget(self, session: Session) -> None:
        if self._by_worker.get(session.worker_id) is session:
            del self._by_worker[session.worker_id]
        if session.task is not None:
            session.task.cancel()

    async def _withdraw(self, session: Session) -> None:
        """Ask for no more tasks; when that fails, the session's own end will see to it."""
        withdrawal = Offer(session.worker_id, session.epoch << 1 | 1, 0, is_standing=True)
        try:
            accepted(await self._replica.propose(withdrawal, timeout_seconds=WITHDRAWAL_SECONDS))
        except (QuorateError, Problem) as error:
            _log.info("the offer of worker %s was not withdrawn: %s", session.worker_id, error)


def _note_failure(pushing: asyncio.Task[None]) -> None:
    if not pushing.cancelled() and (error := pushing.exception()):
        _log.error("a worker is told nothing any more", exc_info=error)


def _superseded(worker_id: str) -> Problem:
    return Problem(
        "offer_superseded",
        f"an offer of worker {worker_id} with a higher epoch was taken: offer with one above it",
    )
