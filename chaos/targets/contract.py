"""A target: a running cluster and what may be done to it. Each deed has its undo.

Every target speaks of nodes by their ids and of workers by their names, and of the way from one
node to another as a pair; what it cannot do it refuses with `Unsupported`, in a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import Protocol

from cluster.errors import QuorateError

Way = tuple[str, str]  # From one node to another.


class Unsupported(QuorateError):
    """This target cannot do that. The message says what, and what can."""


class Target(Protocol):
    """Nodes and workers that live until `stop`."""

    name: str

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node's id, running or not."""

    @property
    def workers(self) -> tuple[str, ...]:
        """Every worker that was started."""

    @property
    def urls(self) -> Mapping[str, str]:
        """Where each node's gateway answers clients."""

    def session_of(self, worker: str) -> str | None:
        """The worker's id in the cluster, once it has joined."""

    def logs(self) -> Mapping[str, str]:
        """What each process has written so far, by its name; of much, the newest."""

    async def start(self) -> None:
        """Bring everything up and wait until it serves."""

    async def stop(self) -> None:
        """Undo every fault and end everything."""

    def has_ended(self, name: str) -> bool:
        """Whether the process is gone: the sign that a kill bit."""

    def is_stopped(self, name: str) -> bool:
        """Whether the process stands still: the sign that a freeze bit."""

    async def kill(self, name: str) -> None:
        """SIGKILL a node or a worker; `revive` brings it back on the same disk."""

    async def revive(self, name: str) -> None:
        """Start again what was killed."""

    async def freeze(self, name: str) -> None:
        """Stop a process where it stands, its connections open; `thaw` lets it go on."""

    async def thaw(self, name: str) -> None:
        """Let a frozen process go on."""

    async def add_worker(self) -> str:
        """Start one more worker; its name."""

    async def cut(self, ways: Iterable[Way]) -> None:
        """Lose what nodes send each other these ways, in silence."""

    async def mend(self) -> None:
        """Undo every cut."""

    async def held_back(self) -> int:
        """How much of what was sent has been lost to cuts so far: bytes or packets, since the
        last `mend`."""


def alone(node: str, nodes: Iterable[str]) -> tuple[Way, ...]:
    """The ways between *node* and all others, both directions."""
    return tuple(way for way in permutations(nodes, 2) if node in way)


def deaf(node: str, nodes: Iterable[str]) -> tuple[Way, ...]:
    """The ways to *node*: it is heard, and hears nobody."""
    return tuple((other, node) for other in nodes if other != node)


def ring_of_majorities(nodes: Iterable[str]) -> tuple[Way, ...]:
    """The ways between nodes that are no neighbours in a ring, or of three, one direction.

    Everyone sees a majority, and no two see the same one (Jepsen's majorities-ring).
    """
    names = list(nodes)
    count = len(names)
    return tuple(
        (one, other)
        for (i, one), (j, other) in permutations(enumerate(names), 2)
        if min((i - j) % count, (j - i) % count) > 1 or (count == 3 and (j - i) % count == 2)
    )
