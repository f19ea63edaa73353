"""The ways between the nodes' containers: how each is to be, and is made to be, and what it stops.

Rules go with a namespace, queues with an interface: whoever comes back gets its own anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from chaos.targets.contract import WELL, Condition, Way
from chaos.targets.engine import Engine, State
from chaos.targets.links import Links, links_of
from cluster.errors import QuorateError


class Ways:
    """All ways between some nodes. Those that are well need no rule."""

    def __init__(
        self, engine: Engine, network: str, containers: Mapping[str, str], nodes: tuple[str, ...]
    ) -> None:
        self._engine = engine
        self._network = network
        self._containers = containers  # By node; others may be among them.
        self._nodes = nodes
        self._conditions: dict[Way, Condition] = {}  # Since the last `mend`.
        self._counted: dict[str, int] = {}  # Packets since then, by node.
        self._queued: dict[str, int] = {}  # What the counters of a node's queues stood at.
        self._turn = asyncio.Lock()  # Who changes ways, or takes their nodes away: one at a time.

    async def change(self, ways: Iterable[Way], **changes: object) -> None:
        """Have these ways be otherwise in that, and as before in all else.

        Raises:
            QuorateError: it cannot be done here; they are as they were.
        """
        changed = tuple(ways)
        async with self._turn:
            before = dict(self._conditions)
            for way in changed:
                condition = before.get(way, WELL)
                self._conditions[way] = replace(condition, **changes)  # type: ignore[arg-type]
            try:
                await self._impose(ends(changed))
            except QuorateError:
                self._conditions = before
                await self._impose(ends(changed))
                raise

    async def mend(self) -> set[str]:
        """Have all ways be well, and count from nothing; whose they were."""
        async with self._turn:
            touched = ends(self._conditions)
            self._conditions.clear()
            await self._impose(touched)
            self._counted.clear()
        return touched

    async def held_back(self) -> int:
        """How many packets were stopped or queued since the last `mend`."""
        async with self._turn:
            await asyncio.gather(*map(self._count, ends(self._conditions)))
            return sum(self._counted.values())

    @asynccontextmanager
    async def leaving(self, *nodes: str) -> AsyncIterator[None]:
        """Have *nodes* go within the context, and their counters with them: they are read before.

        Nothing is done to any way meanwhile. Whoever is no node may be among them.
        """
        async with self._turn:
            for node in nodes:
                await self._count(node)
                self._queued.pop(node, None)
            yield

    async def come_back(self, node: str) -> None:
        """After *node* came back, maybe at another address: have its ways be as they are to be."""
        async with self._turn:
            await self._impose(ends(way for way in self._conditions if node in way))

    async def _impose(self, nodes: Iterable[str]) -> None:
        """Have the namespaces of *nodes* treat what comes and goes as the conditions say."""
        addresses = await self._addresses()
        # One that has no address now will be seen to when it is back.
        there = [node for node in nodes if node in addresses]
        done = await asyncio.gather(
            *(self._impose_on(node, addresses) for node in there), return_exceptions=True
        )
        for node, outcome in zip(there, done, strict=True):
            # Who has ended meanwhile took its rules along, and will be seen to when it is back.
            if outcome is not None and await self._is_there(node):
                raise outcome

    async def _impose_on(self, node: str, addresses: Mapping[str, str]) -> None:
        sources, targets, one_way = {}, {}, []
        for (source, target), condition in self._conditions.items():
            if target == node and source in addresses:
                sources[addresses[source]] = condition
                if not self._conditions.get((node, source), WELL).is_cut:
                    one_way.append(addresses[source])
            if source == node and target in addresses and condition.is_queueing:
                targets[addresses[target]] = condition
        await self._count(node)
        links = await asyncio.to_thread(self._links, node)
        if not sources and not targets:
            await asyncio.to_thread(links.mend)
            self._queued.pop(node, None)
            return
        await asyncio.to_thread(links.stop, sources, one_way=one_way)
        if targets or node in self._queued:
            await asyncio.to_thread(links.queue, addresses[node], targets)
            self._queued[node] = 0  # New queues count from nothing.

    async def _addresses(self) -> dict[str, str]:
        """Where the nodes are for each other; one that is down or unplugged is nowhere."""
        states = await asyncio.gather(
            *(asyncio.to_thread(self._engine.state, self._containers[node]) for node in self._nodes)
        )
        return {
            node: state.addresses[self._network]
            for node, state in zip(self._nodes, states, strict=True)
            if _is_up(state) and self._network in state.addresses
        }

    async def _is_there(self, node: str) -> bool:
        return _is_up(await asyncio.to_thread(self._engine.state, self._containers[node]))

    async def _count(self, node: str) -> None:
        """Add what *node*'s rules and queues have counted since, before they are gone."""
        if not any(node in way for way in self._conditions):
            return
        state = await asyncio.to_thread(self._engine.state, self._containers[node])
        if not _is_up(state):
            return
        links = await asyncio.to_thread(self._links, node)
        new = await asyncio.to_thread(links.take_stopped)
        if node in self._queued and self._network in state.addresses:
            queued = await asyncio.to_thread(links.queued, state.addresses[self._network])
            new += queued - self._queued[node]
            self._queued[node] = queued
        self._counted[node] = self._counted.get(node, 0) + new

    def _links(self, node: str) -> Links:
        return links_of(self._engine, self._containers[node])


def _is_up(state: State) -> bool:
    return state.is_running and not state.is_restarting


def ends(ways: Iterable[Way]) -> set[str]:
    """The nodes at either end."""
    return {node for way in ways for node in way}
