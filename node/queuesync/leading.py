"""Leading: while this peer leads, it alone takes requests, one after the other.

It does so as a worker of the replicated machine with a single slot, under a session that it begins
when it is elected. It ends its predecessor's session first, so that what that one had in hand comes
next, and offers nothing before no session but its own stands: two never take requests at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from cluster.core.commands import Fail, Heartbeat, Leave, Offer, Register
from cluster.core.model import Lease, WorkerStatus
from cluster.core.queries import GetTask, GetWorker, ListWorkers, TaskView, WorkerLeases
from cluster.errors import QuorateError
from cluster.replica import Replica
from gateway.ids import new_id
from gateway.watching import Bell, Watching

QUEUE = "queuesync"
LOOK_SECONDS = 1.0  # How often to see whether this peer still leads, if no event tells.
PAUSE_SECONDS = 0.1  # After a failure.
DELIVERIES_MAX = 10  # A request that was handed out so often takes its coordinators with it.

_log = logging.getLogger(__name__)

HandOut = Callable[[Lease, TaskView], None]


class Leading:
    """Runs on the replica's loop until it is cancelled."""

    def __init__(self, replica: Replica, watching: Watching, hand_out: HandOut) -> None:
        self._replica = replica
        self._watching = watching
        self._hand_out = hand_out

    async def run(self) -> None:
        """Lead whenever the others have elected this peer."""
        while True:
            try:
                await self._elected()
                await self._lead()
            except QuorateError as error:
                _log.info("leads no longer: %s", error)
                await asyncio.sleep(PAUSE_SECONDS)

    def _leads(self) -> bool:
        status = self._replica.status()
        return status.leader == self._replica.node_id and status.has_quorum

    async def _elected(self) -> None:
        with contextlib.closing(self._replica.watch()) as events:
            if self._leads():
                return
            async for event in events:
                if event.kind == "leader_changed" and self._leads():
                    return

    async def _lead(self) -> None:
        worker_id = new_id()
        with self._watching.worker_leasing(worker_id) as bell:
            keeping = asyncio.create_task(self._keep(worker_id))
            try:
                await self._begin(worker_id)
                await self._hand_out_all(worker_id, bell)
            finally:
                keeping.cancel()
                # Who leads next would end it too; this is sooner.
                with contextlib.suppress(QuorateError):
                    await self._replica.propose(Leave(worker_id), timeout_seconds=LOOK_SECONDS)

    async def _begin(self, worker_id: str) -> None:
        """Begin the session, and end every other.

        Of two peers that think they lead, whichever registers second sees the other here.
        """
        await self._replica.propose(
            Register(worker_id, QUEUE, (QUEUE,), (), (), 1, self._replica.node_id)
        )
        page = (await self._replica.read(ListWorkers())).value
        for worker in page.workers:
            if worker.id != worker_id and worker.status is not WorkerStatus.LOST:
                await self._replica.propose(Leave(worker.id))
        await self._replica.propose(Offer(worker_id, 1, 1, is_standing=True))

    async def _hand_out_all(self, worker_id: str, bell: Bell) -> None:
        """Hand out each lease once, until this peer leads no longer or its session has ended."""
        loop = asyncio.get_running_loop()
        newest = 0
        while self._leads() and self._is_active(worker_id):
            for lease in self._replica.machine.answer(WorkerLeases(worker_id)):
                if lease.token > newest:
                    newest = lease.token
                    await self._consider(lease)
            await bell.wait(loop.time() + LOOK_SECONDS)

    async def _consider(self, lease: Lease) -> None:
        task = self._replica.machine.answer(GetTask(lease.task_id))
        assert task is not None, "a leased task is there"
        if task.deliveries <= DELIVERIES_MAX:
            self._hand_out(lease, task)
            return
        reason = f"it was handed out {DELIVERIES_MAX} times, and no coordinator lived to answer it"
        await self._replica.propose(Fail(lease.task_id, lease.token, reason, retry=False))

    async def _keep(self, worker_id: str) -> None:
        """Send heartbeats that name whatever the session holds: nothing is lost between threads."""
        while True:
            await asyncio.sleep(self._replica.settings.lease_seconds / 3)
            tokens = [
                lease.token for lease in self._replica.machine.answer(WorkerLeases(worker_id))
            ]
            with contextlib.suppress(QuorateError):  # The next one may come through.
                await self._replica.propose(
                    Heartbeat(worker_id, tuple(tokens), self._replica.node_id)
                )

    def _is_active(self, worker_id: str) -> bool:
        worker = self._replica.machine.answer(GetWorker(worker_id))
        return worker is not None and worker.status is WorkerStatus.ACTIVE
