"""Whether a leader had a reason to go: calm is a promise, too.

A leader is healthy when its process, its disk and its way to a majority have been undisturbed for
SETTLED_SECONDS, and so have been those of that majority, and when it has led for long enough that
all of them have heard it. Whatever else happens, and whoever returns with whatever term, such a
leader stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from chaos.simulation.network import Network
from chaos.simulation.world import World

if TYPE_CHECKING:
    from chaos.simulation.node import SimulatedNode

SETTLED_SECONDS = 5.0  # A dropped link is found silent, dialled and caught up with by then.
HEARD_SECONDS = (
    0.5  # Until then a majority may be about to elect another: nobody has heard this one.
)


class Calm:
    """When each node and each pair of nodes was last disturbed."""

    def __init__(self, world: World, network: Network) -> None:
        self._world = world
        self._network = network
        self._nodes: dict[str, float] = {}
        self._pairs: dict[frozenset[str], float] = {}
        self._leading_since: dict[str, float] = {}
        self._electorates: dict[str, tuple[tuple[str, ...], float]] = {}

    def disturb(self, name: str, *, until: float = 0.0) -> None:
        """Note that *name* is in trouble now, or will have been until a moment to come."""
        self._nodes[name] = max(self._nodes.get(name, 0.0), until, self._world.now)

    def mend(self, name: str) -> None:
        """Note that the trouble of *name* ends now."""
        self._nodes[name] = self._world.now

    def disturb_pairs(self, directions: Iterable[tuple[str, str]]) -> None:
        """Note that these directions change now: a cut, a heal, a reset."""
        for pair in directions:
            self._pairs[frozenset(pair)] = self._world.now

    def took_over(self, name: str) -> None:
        """Note that *name* leads a new term."""
        self._leading_since[name] = self._world.now

    def is_deposed_without_need(
        self, leader: SimulatedNode, nodes: Sequence[SimulatedNode], members: Collection[str]
    ) -> bool:
        """Whether *leader*, which just stepped down, was healthy.

        *nodes* are those of its *members* that are not gone for good.
        """
        has_been_heard = self._world.now - self._leading_since[leader.name] > HEARD_SECONDS
        if not has_been_heard or not self._is_sane(leader):
            return False
        near = [node for node in nodes if node is not leader and self._reaches(leader, node)]
        return len(near) + 1 > len(members) // 2

    def seconds_alone(
        self, leader: SimulatedNode, nodes: Sequence[SimulatedNode], members: Collection[str]
    ) -> float:
        """For how long, at least, *leader* has heard no majority, and nothing has changed."""
        cuts = self._network.cuts
        heard = [
            node
            for node in nodes
            if node is leader or (node.is_up and (node.name, leader.name) not in cuts)
        ]
        if len(heard) > len(members) // 2:
            return 0.0
        changes = [self._nodes.get(name, 0.0) for name in members]
        changes += [self._leading_since[leader.name], self._same_members_since(leader, members)]
        changes += [at for pair, at in self._pairs.items() if leader.name in pair]
        return max(0.0, self._world.now - max(changes))

    def _same_members_since(self, leader: SimulatedNode, members: Collection[str]) -> float:
        """Since when, at the latest, *leader* has gone by these: with others it had a majority."""
        known = self._electorates.get(leader.name)
        if known is None or known[0] != tuple(members):
            known = self._electorates[leader.name] = (tuple(members), self._world.now)
        return known[1]

    def _is_sane(self, node: SimulatedNode) -> bool:
        return node.is_serving and self._is_settled(self._nodes.get(node.name))

    def _reaches(self, leader: SimulatedNode, other: SimulatedNode) -> bool:
        there, back = (leader.name, other.name), (other.name, leader.name)
        network = self._network
        # A refused dial counts as well: a link that is lost meanwhile cannot be had again.
        troubled = network.cuts | network.unusual.keys() | network.refusals
        if there in troubled or back in troubled:
            return False
        return self._is_sane(other) and self._is_settled(self._pairs.get(frozenset(there)))

    def _is_settled(self, disturbed_at: float | None) -> bool:
        return disturbed_at is None or self._world.now - disturbed_at > SETTLED_SECONDS
