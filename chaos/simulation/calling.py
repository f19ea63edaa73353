"""A process outside the cluster that asks nodes for something, over the simulated network."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from chaos.simulation.dice import Dice
from chaos.simulation.loop import SimulatedLoop
from chaos.simulation.network import Network
from chaos.simulation.node import Operation, SimulatedNode
from chaos.simulation.world import Event, World

PATIENCE_SECONDS = 7.0  # A caller's; longer than the replica's own.


class Broken(Exception):
    """The connection to the node broke while a request was under way."""


class NotServed(Exception):
    """Nothing listened: the request certainly did nothing."""


class Caller(ABC):
    """One process, alone on its machine: it may ask any of *nodes*, which may come and go."""

    def __init__(
        self,
        world: World,
        network: Network,
        name: str,
        nodes: Sequence[SimulatedNode],
        dice: Dice,
    ) -> None:
        self.world = world
        self.name = name
        self.nodes = nodes
        self.dice = dice
        self.process = SimulatedLoop(world, name)
        self._network = network

    def begin(self) -> None:
        """Start the process."""
        self.process.start(self.run())

    @abstractmethod
    async def run(self) -> None:
        """Live until the world ends, or `end` is called."""

    def end(self) -> None:
        """End the process; what is under way is never known to it."""
        self.process.kill()

    async def rest(self, mean_seconds: float) -> None:
        """Do nothing for a random while."""
        await asyncio.sleep(self.dice.expovariate(1 / mean_seconds))

    def pick(self) -> SimulatedNode:
        """Any node."""
        return self.dice.choice(self.nodes)

    async def ask(
        self,
        node: SimulatedNode,
        operation: Operation,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Any:
        """Have *node* run *operation* and return what came of it.

        Raises:
            NotServed: nothing listened.
            Broken: the node died, or hung up.
            TimeoutError: patience ended.
            QuorateError: what the operation raised.
        """
        answer: asyncio.Future[Any] = self.process.create_future()
        there = self._network.latency(self.name, node.name)
        self.world.after(there, self._arrive, node, operation, answer)
        async with asyncio.timeout(patience_seconds):
            return await answer

    def _arrive(
        self, node: SimulatedNode, operation: Operation, answer: asyncio.Future[Any]
    ) -> None:
        """The request reaches the node's machine, or does not."""
        if self._network.is_cut(self.name, node.name) or not node.is_powered:
            return
        is_served = node.serve(
            operation,
            lambda value, error: self._reply(node.name, answer, value, error),
            lambda: self._reply(node.name, answer, None, Broken()),
        )
        if not is_served:
            self._reply(node.name, answer, None, NotServed())

    def _reply(
        self, name: str, answer: asyncio.Future[Any], value: Any, error: BaseException | None
    ) -> None:
        if self._network.is_cut(name, self.name):
            return
        when = self.world.now + self._network.latency(name, self.name)
        self.world.push(when, Event(self.process, _settle, (answer, value, error), None))


def _settle(answer: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)
