"""The operator: changes the members of a running cluster, one at a time, and who leads it.

A change whose fate is unknown is asked for again until it is known, as a person would: so at most
one machine at a time is missing, and none is taken away that still counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from chaos.simulation.calling import Caller, NotServed
from chaos.simulation.dice import dice
from chaos.simulation.history import Outcome
from chaos.simulation.node import RAFT_PORT, Operation, SimulatedNode
from chaos.simulation.world import World
from cluster.errors import ChangeRefused, NoQuorum

if TYPE_CHECKING:
    from chaos.simulation.cluster import Cluster

PATIENCE_SECONDS = 5.0  # With one request.
LOOK_SECONDS = 0.05  # How often it looks whether there is something to do.
MEMBERS_MAX = 7

Job = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Order:
    """One request, and what was heard of it."""

    what: str  # "add", "remove" or "lead".
    name: str
    outcome: Outcome = Outcome.OPEN

    def __str__(self) -> str:
        return f"{self.what} {self.name}: {self.outcome}"


class Operator(Caller):
    """A process of its own, which does what it is told to one after the other."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        roll = dice(cluster.plan.seed, "operator")
        super().__init__(world, cluster.network, "operator", cluster.nodes, roll)
        self.orders: list[Order] = []
        self._cluster = cluster
        self._jobs: list[Job] = []
        self._is_finishing = False
        self.is_busy = False  # A change of members is under way.

    async def run(self) -> None:
        """Do one job after the other."""
        while not self._is_finishing:
            if self._jobs and self._cluster.is_formed:
                self.is_busy = True
                await self._jobs.pop(0)()
                self.is_busy = False
            await asyncio.sleep(LOOK_SECONDS)

    def pick(self) -> SimulatedNode:
        """Any node that counts: one that is to be added knows of nobody who leads."""
        members = [node for node in self.nodes if node.name in self._cluster.members]
        return self.dice.choice(members or list(self.nodes))

    # What it is told to do.

    def add(self) -> None:
        """Set up a new machine and make it a member."""
        self._jobs.append(self._add)

    def remove(self, node: SimulatedNode) -> None:
        """Have *node* be a member no longer, and take its machine away."""
        self._jobs.append(partial(self._remove, node))

    def replace(self, node: SimulatedNode) -> None:
        """*node* is lost, with its disk: remove it, and make a new machine a member instead."""
        self._jobs.append(partial(self._replace, node))

    def change_leader(self, node: SimulatedNode | None) -> None:
        """Ask once that *node* lead, or whoever is furthest."""
        name = None if node is None else node.name
        self.process.create_task(
            self._order("lead", name or "", lambda replica: replica.change_leader(name))
        )

    def finish(self) -> None:
        """Begin nothing more; what is under way is brought to its end."""
        self._is_finishing = True

    # Doing it.

    async def _add(self) -> None:
        if len(self._cluster.members) >= MEMBERS_MAX:
            return
        name = self._cluster.enlist().name
        await self._until_known(
            "add", name, lambda replica: replica.add_member(name, f"{name}:{RAFT_PORT}")
        )

    async def _remove(self, node: SimulatedNode) -> None:
        if len(self._cluster.members) > 1 and node.name in self._cluster.members:
            await self._dismiss(node.name)
            await self.rest(1.0)  # It learns late, or never, that it counts no more.
            self._cluster.retire(node)

    async def _replace(self, node: SimulatedNode) -> None:
        if len(self._cluster.members) > 2 and node.name in self._cluster.members:
            self._cluster.retire(node)
            await self.rest(1.0)
            await self._dismiss(node.name)
            await self._add()

    async def _dismiss(self, name: str) -> None:
        await self._until_known("remove", name, lambda replica: replica.remove_member(name))

    async def _until_known(self, what: str, name: str, operation: Operation) -> None:
        """Ask, and ask again, until the members are as they should be."""
        while (name in self._cluster.members) != (what == "add"):
            await self._order(what, name, operation)
            await self.rest(0.3)

    async def _order(self, what: str, name: str, operation: Operation) -> None:
        order = Order(what, name)
        self.orders.append(order)
        try:
            await self.ask(self.pick(), operation, patience_seconds=PATIENCE_SECONDS)
        except (ChangeRefused, NoQuorum, NotServed):
            order.outcome = Outcome.FAIL
        except Exception:  # noqa: BLE001 - whatever else it was, it may have been done.
            order.outcome = Outcome.INFO
        else:
            order.outcome = Outcome.OK
        self.world.record(str(order).encode())
        self._cluster.judge.tell(f"the operator asked to {order}")
