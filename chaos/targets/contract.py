"""A target: a running cluster and what may be done to it. Each deed has its undo.

Every target speaks of nodes by their ids and of workers by their names, and of the way from one
node to another as a pair; what it cannot do it refuses with `Unsupported`, in a sentence. That a
deed bit is looked at, not taken for granted: each says by which sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal, Protocol

from cluster.errors import ConfigurationError

Way = tuple[str, str]  # From one node to another.
Kind = Literal["log", "snapshot"]  # Of a node's files.


class Unsupported(ConfigurationError):
    """This target cannot do that, here. The message says what is missing, and what can."""


class BeyondKernel(Unsupported):
    """No kernel of this machine can: nobody who runs experiments could have done better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a way is. By default it is well; a way that is cut or reset is nothing else besides."""

    is_cut: bool = False
    is_reset: bool = False
    delay_seconds: float = 0.0
    bytes_per_second: float | None = None
    loss: float = 0.0  # The share that is lost, from 0 to 1.

    @property
    def is_queueing(self) -> bool:
        """Whether what passes has to wait for its turn."""
        return bool(self.delay_seconds) or self.bytes_per_second is not None


WELL = Condition()


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
        """Undo every fault and end everything. Can be called in any state, and again."""

    # What may be done to a process, and to what it has on disk.

    async def kill(self, name: str) -> None:
        """SIGKILL a node or a worker; `revive` brings it back on the same disk. See `has_ended`."""

    async def end(self, name: str) -> None:
        """SIGTERM: let it end in good order. `revive` brings it back. See `has_ended`."""

    async def revive(self, name: str) -> None:
        """Start again what was killed or has ended."""

    async def restart(self, name: str) -> None:
        """End it in good order and start it again. See `start_of`."""

    async def kill_all(self) -> None:
        """SIGKILL every process at once: nobody is left who knows what the others do not."""

    async def revive_all(self) -> None:
        """Start again all that has ended, nodes first."""

    async def freeze(self, name: str) -> None:
        """Stop a process where it stands, its connections open; `thaw` lets it go on. See
        `is_stopped`."""

    async def thaw(self, name: str) -> None:
        """Let a frozen process go on."""

    async def add_workers(self, count: int) -> list[str]:
        """Start so many more workers; their names."""

    async def flip_bit(self, node: str, kind: Kind) -> str:
        """Flip a bit on the disk of a node that has ended, and tell in which file and where.

        Flipping it again is the undo; or the node's disk is put aside, as it will ask for.

        Raises:
            Unsupported: the node runs, or has no such file yet.
        """

    async def put_disk_aside(self, node: str) -> None:
        """Do what a node with a damaged disk asks for: move its data away, and let the others bring
        it up to date when it is revived. It must have ended."""

    # What may be done to the ways between nodes. `mend` undoes it; `held_back` is the sign.

    async def cut(self, ways: Iterable[Way]) -> None:
        """Lose what nodes send each other these ways, in silence."""

    async def reset(self, ways: Iterable[Way]) -> None:
        """Reset what nodes send each other these ways: connections break at once and new ones are
        refused or reset as well. TCP needs both ways: of a pair, one is enough."""

    async def slow(self, ways: Iterable[Way], delay_seconds: float) -> None:
        """Deliver what is sent these ways so much later."""

    async def throttle(self, ways: Iterable[Way], bytes_per_second: float) -> None:
        """Carry no more than that these ways."""

    async def lose(self, ways: Iterable[Way], share: float) -> None:
        """Lose this share of the packets that are sent these ways. TCP sends them again: what its
        users see of it is waiting."""

    async def mend(self) -> None:
        """Make every way well again."""

    async def held_back(self) -> int:
        """How much of what was sent has been lost, reset or slowed on its way, since the last
        `mend`: bytes, packets or connections."""

    async def disconnect(self, node: str) -> None:
        """Pull the cable between a node and the others; clients still reach it. See
        `is_disconnected`."""

    async def reconnect(self, node: str, *, changed_address: bool = False) -> None:
        """Plug it in again, under the same name, at the same address or at another."""

    # Signs.

    def has_ended(self, name: str) -> bool:
        """Whether the process is gone: the sign that a kill bit."""

    def is_stopped(self, name: str) -> bool:
        """Whether the process stands still: the sign that a freeze bit."""

    def is_disconnected(self, node: str) -> bool:
        """Whether the node's cable is out."""

    def start_of(self, name: str) -> str:
        """Which start of the process this is: never the same twice, the sign that a restart bit."""


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
