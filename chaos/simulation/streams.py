"""One connection's two streams and its two ends.

A stream is first in, first out. A cut holds what arrives; a death loses a part of what is in
flight, but never something in the middle.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from chaos.simulation.loop import SimulatedLoop
from chaos.simulation.world import Event

if TYPE_CHECKING:
    from chaos.simulation.network import Listener, Network

SOCKET_BYTES = 1024 * 1024  # What both kernels hold of a stream before its writer has to wait.
SPLIT_SECONDS = 0.0005  # How much later the second piece of a split write comes.


class Opening(NamedTuple):
    """The connection stands: the first thing that the accepting side sees."""

    listener: Listener


class Closing(NamedTuple):
    """The last thing: None for an orderly end, else what the receiver is told."""

    error: Exception | None


Item = bytes | Opening | Closing


class Stream:
    """One direction: what one end writes, the other takes."""

    __slots__ = (
        "_arrived",
        "_bytes",
        "_held",
        "_label",
        "_last_at",
        "_limit",
        "_network",
        "_sent",
        "receiver",
        "source",
        "target",
    )

    def __init__(self, network: Network, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.receiver: End  # Set by the connection.
        self._network = network
        self._label = f"{source}>{target}".encode()
        self._last_at = 0.0
        self._held: list[tuple[Item, int, float]] = []
        self._sent = 0
        self._arrived = 0
        self._limit: int | None = None  # Items sent after it are lost.
        self._bytes = 0  # In flight.

    @property
    def waiting_bytes(self) -> int:
        """What the writer's own buffer holds, because the kernels hold all they can."""
        return max(0, self._bytes - SOCKET_BYTES)

    def send(self, item: Item) -> None:
        """Put *item* on its way, behind all that was sent before."""
        network = self._network
        link = network.link(self.source, self.target)
        if type(item) is bytes:
            if link.split and len(item) > 1 and network.dice.random() < link.split:
                cut = network.dice.randrange(1, len(item))
                self._put(item[:cut], cut, link.bytes_per_second)
                self._last_at += SPLIT_SECONDS
                item = item[cut:]
            self._put(item, len(item), link.bytes_per_second)
        else:
            self._put(item, 0, link.bytes_per_second)

    def _put(self, item: Item, size: int, bytes_per_second: float) -> None:
        network = self._network
        now = network.world.now
        at = max(now + network.latency(self.source, self.target), self._last_at)
        self._last_at = at = at + size / bytes_per_second
        self._sent += 1
        self._bytes += size
        event = Event(self.receiver.process, self._arrive, (item, self._sent, now), None)
        network.world.push(at, event)

    def break_off(self) -> None:
        """Lose a random part of what is in flight: its end, never its middle."""
        lost = self._network.dice.randint(0, self._sent - self._arrived)
        self._limit = self._sent - lost

    def _arrive(self, item: Item, number: int, sent_at: float) -> None:
        if self._held or self._network.is_cut(self.source, self.target):
            self._held.append((item, number, sent_at))
            self._network.holding[self] = None
            return
        self._take(item, number, sent_at)

    def let_go(self) -> None:
        """Deliver what a cut has held, if it has healed."""
        if self._network.is_cut(self.source, self.target):
            return
        self._network.holding.pop(self, None)
        held, self._held = self._held, []
        for item in held:
            self._take(*item)

    def _take(self, item: Item, number: int, sent_at: float) -> None:
        self._arrived = number
        if type(item) is bytes:
            self._bytes -= len(item)
            if self._limit is not None and number > self._limit:
                return
            network = self._network
            network.world.record(self._label, item)
            if network.observe is not None:
                network.observe(self.source, self.target, sent_at, item)
        self.receiver.take(item)


class End(asyncio.Transport):
    """What a protocol holds of its connection."""

    def __init__(self, process: SimulatedLoop, outgoing: Stream) -> None:
        super().__init__()
        self.process = process
        self.outgoing = outgoing
        self.protocol: Any = None
        self._is_closing = False
        self._is_reading = True
        self._unread: list[Item] = []

    def begin(self, protocol: Any) -> None:
        """Hand the connection to *protocol*."""
        self.protocol = protocol
        protocol.connection_made(self)

    def take(self, item: Item) -> None:
        """What the other end sent, in order."""
        if self._is_closing:
            return
        if not self._is_reading:
            self._unread.append(item)
        elif type(item) is bytes:
            self.protocol.data_received(item)
        elif isinstance(item, Opening):
            if item.listener.is_serving():
                self.begin(item.listener.factory())
            else:
                self.fall()
        elif isinstance(item, Closing):
            if item.error is None and self.protocol is not None:
                self.protocol.eof_received()
            self._is_closing = True
            self._lose(item.error)

    def fall(self) -> None:
        """The process or its machine is gone: its kernel says so, after what it had sent."""
        if not self._is_closing:
            self._is_closing = True
            self.outgoing.break_off()
            self.outgoing.send(Closing(ConnectionResetError(104, "connection reset by peer")))

    def _lose(self, error: Exception | None) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

    # asyncio's transport.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._is_closing and not self.process.is_dead and len(data):
            self.outgoing.send(bytes(data))

    def close(self) -> None:
        if not self._is_closing and not self.process.is_dead:
            self._is_closing = True
            self.outgoing.send(Closing(None))
            self.process.call_soon(self._lose, None)

    def abort(self) -> None:
        if not self._is_closing and not self.process.is_dead:
            self.fall()
            self.process.call_soon(self._lose, None)

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return self.outgoing.waiting_bytes

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        unread, self._unread = self._unread, []
        for item in unread:
            self.take(item)

    def is_reading(self) -> bool:
        return self._is_reading

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.outgoing.target, 0) if name == "peername" else default

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Connection:
    """Two machines' connection: the dialler's end is near, the other one far."""

    def __init__(self, network: Network, near: SimulatedLoop, far: SimulatedLoop) -> None:
        outward = Stream(network, near.host, far.host)
        inward = Stream(network, far.host, near.host)
        self.near = End(near, outward)
        self.far = End(far, inward)
        outward.receiver = self.far
        inward.receiver = self.near
        self.near.outgoing = outward

    @property
    def ends(self) -> tuple[End, End]:
        """Both of them."""
        return self.near, self.far

    @property
    def is_over(self) -> bool:
        """Whether neither end can say anything more."""
        return all(end.is_closing() or end.process.is_dead for end in self.ends)

    def joins(self, host: str, other: str) -> bool:
        """Whether it is between these two machines."""
        return {self.near.process.host, self.far.process.host} == {host, other}
