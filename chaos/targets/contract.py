"""A target: a running cluster and what may be done to it. Each deed has its undo.

Every target speaks of nodes by their ids and of workers by their names, and of the way from one
node to another as a pair; what it cannot do it refuses with `Unsupported`, in a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import permutations, product
from typing import Literal, Protocol

from cluster.errors import QuorateError

Way = tuple[str, str]  # From one node to another.
Kind = Literal["log", "snapshot"]  # Of a node's files.


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

    async def restart(self, name: str) -> None:
        """End it in good order and start it again. See `start_of`."""

    async def kill_all(self) -> None:
        """SIGKILL every process at once: nobody is left who knows what the others do not."""

    async def revive_all(self) -> None:
        """Start again all that has ended, nodes first."""

    async def flip_bit(self, node: str, kind: Kind) -> str:
        """Flip a bit on the disk of a node that has ended, and tell in which file and where."""

    async def put_disk_aside(self, node: str) -> None:
        """Do what a node with a damaged disk asks for: move its data away, and let the others bring
        it up to date when it is revived. It must have ended."""

    async def complaint_of(self, node: str) -> str | None:
        """Why a node refuses its disk, in its own words; None while it does not."""

    def start_of(self, name: str) -> str:
        """Which start of the process this is: never the same twice, the sign that a restart bit."""

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


def apart(some: Iterable[str], others: Iterable[str]) -> tuple[Way, ...]:
    """The ways between two groups, both directions."""
    pairs = list(product(some, others))
    return (*pairs, *((other, one) for one, other in pairs))


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
