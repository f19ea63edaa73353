"""Workers: each connected to one node, as long as that answers; they take tasks and settle them."""

from __future__ import annotations

from functools import partial

from chaos.simulation.history import Attempt, Outcome
from chaos.simulation.node import SimulatedNode
from chaos.simulation.workload import QUEUES, Client
from cluster.core.commands import (
    Complete,
    Fail,
    Heartbeat,
    Leave,
    Offer,
    Offered,
    Refusal,
    Refused,
    Register,
    Release,
    Renewed,
)
from cluster.core.model import Lease
from cluster.core.queries import WorkerLeases


class Worker(Client):
    """Registers, takes what it is leased, completes or fails it; begins anew when it is lost."""

    pause_seconds = 0.2
    slots = 3
    _sessions = 0

    async def run(self) -> None:
        while True:
            self._sessions += 1
            await self._session(f"{self.name}-{self._sessions}", self.pick())

    async def _session(self, worker_id: str, home: SimulatedNode) -> None:
        joined = await self.write_until_known(
            lambda tag: Register(worker_id, tag, QUEUES, (), (), self.slots, home.name), node=home
        )
        if joined.outcome is not Outcome.OK or isinstance(joined.value, Refused):
            return
        epoch = 0
        while True:
            epoch += 1
            offered = await self.write_until_known(partial(self._offer, worker_id, epoch))
            if _is_over(offered):
                return
            await self.rest(self.pause_seconds)
            leases = await self._leases(worker_id, offered)
            for lease in leases:
                await self._settle(lease)
            beat = await self._beat(worker_id, leases, home)
            if _is_over(beat):
                return
            if isinstance(beat.value, Renewed) and beat.value.drain:
                await self.write_until_known(lambda _tag: Leave(worker_id))
                return
            if beat.outcome is not Outcome.OK:
                home = self.pick()  # It connects elsewhere, and is served there.

    async def _beat(
        self, worker_id: str, leases: tuple[Lease, ...], home: SimulatedNode
    ) -> Attempt:
        """Show that it lives, through the node that it is connected to."""
        tokens = tuple(lease.token for lease in leases)
        return await self.write(lambda _tag: Heartbeat(worker_id, tokens, home.name), node=home)

    def _offer(self, worker_id: str, epoch: int, _tag: str) -> Offer:
        return Offer(worker_id, epoch, self.slots, is_standing=True)

    async def _leases(self, worker_id: str, offered: Attempt) -> tuple[Lease, ...]:
        if isinstance(offered.value, Offered) and offered.value.leases:
            return offered.value.leases
        asked = await self.read(WorkerLeases(worker_id))
        return asked.value if asked.outcome is Outcome.OK else ()

    async def _settle(self, lease: Lease) -> None:
        # Some runs outlast their lease: what comes of them then must change nothing.
        await self.rest(self.dice.choice((0.05, 0.05, 0.05, 0.05, 2.0)))
        chance = self.dice.random()
        if chance < 0.1:
            return  # It forgets: the lease comes back by itself.
        if chance < 0.2:
            await self.write(lambda _tag: Release(lease.task_id, lease.token))
        elif chance < 0.35:
            await self.write_until_known(lambda tag: Fail(lease.task_id, lease.token, tag))
        else:
            await self.write_until_known(
                lambda tag: Complete(lease.task_id, lease.token, tag.encode())
            )


def _is_over(attempt: Attempt) -> bool:
    return isinstance(attempt.value, Refused) and attempt.value.refusal in (
        Refusal.WORKER_LOST,
        Refusal.WORKER_UNKNOWN,
    )
