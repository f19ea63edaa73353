"""Connections between simulated machines, with the faults of real ones.

A connection is two first-in-first-out streams of bytes. A cut direction holds what is sent through
it, as TCP does by sending again: it arrives some time after the heal, unless the connection has
died by then. A dead connection loses what was in flight. Nothing within a connection is doubled or
reordered: TCP does not do that either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from chaos.simulation.dice import Dice
from chaos.simulation.loop import SimulatedLoop
from chaos.simulation.streams import Closing, Connection, End, Opening, Stream
from chaos.simulation.world import Event, World

RETRANSMIT_SECONDS = 0.5  # After a heal, what was held waits up to this long (RFC 6298 backs off).

Observer = Callable[[str, str, float, bytes], None]  # Source, target, when it was sent, what.


class Link(NamedTuple):
    """How one direction between two machines behaves."""

    latency: tuple[float, float] = (0.0002, 0.002)  # Seconds; each packet draws its own.
    bytes_per_second: float = 125_000_000.0
    split: float = 0.0  # How often a write arrives in two pieces.


class Listener:
    """A port that is listened on: what its owner holds for an `asyncio.Server`."""

    def __init__(
        self, network: Network, process: SimulatedLoop, factory: Callable[[], Any], port: int
    ) -> None:
        self.process = process
        self.factory = factory
        self.address = (process.host, port)
        self._network = network

    def close(self) -> None:
        """Listen no more; connections that stand stay."""
        self._network.forget(self)

    async def wait_closed(self) -> None:
        """Nothing to wait for."""

    def is_serving(self) -> bool:
        """Whether it is listened on still."""
        return self._network.listener(*self.address) is self


class Network:
    """All machines, which of them reach which, and the connections that stand."""

    def __init__(self, world: World, dice: Dice, link: Link) -> None:
        self.world = world
        self.dice = dice
        self.usual = link
        self.unusual: dict[tuple[str, str], Link] = {}  # Directions that behave otherwise.
        self.cuts: set[tuple[str, str]] = set()  # Directions through which nothing passes.
        self.refusals: set[tuple[str, str]] = set()  # Directions in which dialling is refused.
        self.silent: set[str] = set()  # Machines without power.
        self.holding: dict[Stream, None] = {}
        self.observe: Observer | None = None
        self._connections: list[Connection] = []
        self._listeners: dict[tuple[str, int], Listener] = {}

    # What loops use (loop.Sockets).

    def listen(self, process: SimulatedLoop, factory: Any, port: int) -> asyncio.Server:
        address = (process.host, port)
        if self.listener(*address) is not None:
            raise OSError(98, f"port {port} of {process.host} is in use")
        self._listeners[address] = Listener(self, process, factory, port)
        return cast("asyncio.Server", self._listeners[address])

    async def dial(
        self, process: SimulatedLoop, factory: Any, host: str, port: int
    ) -> tuple[asyncio.Transport, Any]:
        answered: asyncio.Future[End] = process.create_future()
        there = self.latency(process.host, host)
        self.world.after(there, self._knock, process, factory, (host, port), answered)
        end = await answered
        return end, end.protocol

    def _knock(
        self,
        process: SimulatedLoop,
        factory: Callable[[], Any],
        address: tuple[str, int],
        answered: asyncio.Future[End],
    ) -> None:
        """The dialler's first packet arrives, or does not."""
        host, port = address
        pair = (process.host, host)
        if host in self.silent or pair in self.cuts or pair[::-1] in self.cuts:
            return  # Silence: the dialler's own patience ends it.
        back = self.world.now + self.latency(*pair[::-1])
        listener = self.listener(*address)
        if listener is None or pair in self.refusals:
            error = ConnectionRefusedError(111, f"nobody listens at {host}:{port}")
            self.world.push(back, Event(process, _refuse, (answered, error), None))
            return
        given = (process, factory, listener, answered)
        self.world.push(back, Event(process, self._open, given, None))

    def _open(
        self,
        process: SimulatedLoop,
        factory: Callable[[], Any],
        listener: Listener,
        answered: asyncio.Future[End],
    ) -> None:
        if answered.done():
            return  # The dialler has given up.
        connection = Connection(self, process, listener.process)
        self._connections = [each for each in self._connections if not each.is_over]
        self._connections.append(connection)
        connection.near.outgoing.send(Opening(listener))
        connection.near.begin(factory())
        answered.set_result(connection.near)

    # What streams and listeners ask.

    def latency(self, source: str, target: str) -> float:
        """Seconds that the next packet takes."""
        low, high = self.link(source, target).latency
        return low + (high - low) * self.dice.random()

    def link(self, source: str, target: str) -> Link:
        """How this direction behaves now."""
        return self.unusual.get((source, target), self.usual)

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing passes from *source* to *target*."""
        return (source, target) in self.cuts

    def listener(self, host: str, port: int) -> Listener | None:
        """Who listens there now."""
        found = self._listeners.get((host, port))
        return None if found is None or found.process.is_dead else found

    def forget(self, listener: Listener) -> None:
        """Let a closed listener go."""
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    # Faults.

    def cut(self, directions: Iterable[tuple[str, str]]) -> None:
        """Let nothing pass in *directions* from now on."""
        self.cuts.update(directions)

    def heal(self, directions: Iterable[tuple[str, str]]) -> None:
        """Let all pass again in *directions*; what was held comes in a while."""
        self.cuts.difference_update(directions)
        for stream in self.holding:
            if not self.is_cut(stream.source, stream.target):
                wait = self.dice.random() * RETRANSMIT_SECONDS
                self.world.push(
                    self.world.now + wait, Event(stream.receiver.process, stream.let_go, (), None)
                )

    def process_died(self, process: SimulatedLoop) -> None:
        """Its machine closes its connections, and says so."""
        for end in self._ends_of(process.host):
            if end.process is process:
                end.fall()

    def power_lost(self, host: str) -> None:
        """The machine says nothing any more, not even that."""
        self.silent.add(host)

    def power_restored(self, host: str) -> None:
        """The machine knows nothing of its old connections, and says so to whoever uses them."""
        self.silent.discard(host)
        for end in self._ends_of(host):
            end.fall()

    def reset(self, host: str, other: str) -> None:
        """Break every connection between two machines, as a router does that lost its table."""
        for connection in self._connections:
            if connection.joins(host, other) and not connection.is_over:
                for end in connection.ends:
                    end.outgoing.break_off()
                    end.outgoing.send(Closing(ConnectionResetError(104, "connection reset")))

    def _ends_of(self, host: str) -> list[End]:
        return [end for each in self._connections for end in each.ends if end.process.host == host]


def _refuse(answered: asyncio.Future[Any], error: OSError) -> None:
    if not answered.done():
        answered.set_exception(error)
