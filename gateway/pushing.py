"""Pushing: what a worker is told unasked, as soon as the state has it.

Events say where to look and what ended; what a lease holds is read from this node's state. After a
gap in the events, or when the worker says anew what it holds, the two are compared as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TypeVar

from cluster.answers import Consistency
from cluster.core.commands import Refusal
from cluster.core.model import Event, Lease, WorkerStatus
from cluster.core.queries import GetWorker, Progress, Query, WorkerLeases, WorkerProgress
from cluster.replica import Replica
from gateway import frames, render
from gateway.encoding import Format
from gateway.outbox import Outbox
from gateway.sizes import leases_fitting
from gateway.watching import Watching
from gateway.writing import written

A = TypeVar("A")

LEASED_BYTES_AIMED = 1 << 20  # Of one frame; a larger lease goes alone.

_ENDS_BY_ITSELF = frozenset({"retrying", "failed", "cancelled"})
_GONE = {"worker_left": Refusal.WORKER_UNKNOWN, "worker_lost": Refusal.WORKER_LOST}


class Pushing:
    """What one worker knows, and what it has yet to be told."""

    def __init__(self, replica: Replica, worker_id: str, outbox: Outbox) -> None:
        self._replica = replica
        self._worker_id = worker_id
        self._outbox = outbox
        self._woken = asyncio.Event()
        self._known: dict[int, None] = {}  # Tokens of leases that the worker has been told of.
        self._newest_token = 0  # Of those that were looked at.
        self._is_behind = True  # What is known has to be compared with all that stands.
        self._cancel: list[str] = []
        self._lost: list[int] = []
        self._is_draining = False
        self._is_drain_told = False
        self._gone: str | None = None

    def restate(self, tokens: Iterable[int] | None) -> None:
        """Tell the worker of everything that it does not name; None: it holds what it was given."""
        if tokens is not None:
            self._known = dict.fromkeys(tokens)
        self.ring()

    def hear(self, event: Event) -> None:
        """Note what a worker's event means to it (watching.Listener)."""
        kind = event.kind
        if kind == "completed":  # The worker itself said so.
            self._known.pop(event.lease_token or 0, None)
            return
        if kind == "cancel_requested" and event.task_id is not None:
            self._cancel.append(event.task_id)
        elif kind == "released" or kind in _ENDS_BY_ITSELF:
            self._end(event)
        elif kind == "worker_draining":
            self._is_draining = True
        elif kind in _GONE:
            self._gone = _GONE[kind]
        elif kind != "leased":
            return
        self._woken.set()

    def ring(self) -> None:
        """Compare all that stands with what is known (watching.Listener)."""
        self._is_behind = True
        self._woken.set()

    async def run(self, watching: Watching) -> None:
        """Tell the worker, until its session has ended or this is cancelled."""
        with watching.telling(self._worker_id, self):
            while self._gone is None:
                await self._woken.wait()
                self._woken.clear()
                await self._outbox.room()
                await self._tell()
            self._outbox.put(frames.packed_push("gone", frames.packed(str(self._gone))))

    def _end(self, event: Event) -> None:
        """A lease ended otherwise than by a result."""
        token = event.lease_token
        if token not in self._known:
            return
        del self._known[token]
        is_own = event.kind == "released" and event.error is None
        if not is_own:
            self._lost.append(token)

    async def _tell(self) -> None:
        if self._is_behind:
            self._is_behind = False
            await self._compare()
        if self._gone is not None:
            return
        leases = await self._read(WorkerLeases(self._worker_id, above=self._newest_token))
        fresh = [lease for lease in leases if lease.token not in self._known]
        if leases:
            above, self._newest_token = self._newest_token, leases[-1].token
            self._known |= dict.fromkeys(lease.token for lease in fresh)
            await self._tell_leased(fresh, above)
        self._tell_orders()

    async def _compare(self) -> None:
        """Note what of the known stands no more or is to be cancelled, and look at all leases."""
        worker = await self._read(GetWorker(self._worker_id))
        if worker is None or worker.status is WorkerStatus.LOST:
            self._gone = Refusal.WORKER_UNKNOWN if worker is None else Refusal.WORKER_LOST
            return
        standing = {lease.token: lease for lease in await self._read(WorkerLeases(self._worker_id))}
        self._lost += [token for token in self._known if token not in standing]
        self._known = {token: None for token in self._known if token in standing}
        self._cancel += [
            standing[token].task_id for token in self._known if standing[token].cancel_requested
        ]
        self._is_draining = worker.status is WorkerStatus.DRAINING
        self._newest_token = 0

    async def _tell_leased(self, leases: list[Lease], above: int) -> None:
        progress = await self._read(WorkerProgress(self._worker_id, above=above))
        for part in _parts(leases, progress):
            content = await written(render.leases(part, progress), Format.MSGPACK)
            await self._outbox.room()
            self._outbox.put(frames.packed_push("leased", content))

    def _tell_orders(self) -> None:
        is_drain_news = self._is_draining and not self._is_drain_told
        if not (self._cancel or self._lost or is_drain_news):
            return
        orders = {"cancel": self._cancel, "lost": self._lost, "drain": self._is_draining}
        self._outbox.put(frames.packed_push("orders", frames.packed(orders)))
        self._cancel, self._lost = [], []
        self._is_drain_told = self._is_draining

    async def _read(self, query: Query[A]) -> A:
        """What this node's state has now; nothing is waited for."""
        return (await self._replica.read(query, consistency=Consistency.STALE)).value


def _parts(leases: list[Lease], progress: tuple[Progress, ...]) -> Iterator[list[Lease]]:
    """The leases in frames that are not too long, in order."""
    while leases:
        count = leases_fitting(leases, progress, LEASED_BYTES_AIMED)
        yield leases[:count]
        leases = leases[count:]
