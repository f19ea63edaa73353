"""A TCP relay in front of one address: it forwards, and on request it does so badly.

Faults are set while it runs and undone again. A dropping relay is a network that lost its path, not
one that lost bytes: connections stay open, what was sent is held and arrives once the path is back,
as TCP would have it retransmitted; ends and resets of connections are held with it.

One relay stands for one directed address. It cuts a pair of nodes apart only if it is the only way
between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

HOST = "127.0.0.1"
HELD_BYTES_MAX = 1024 * 1024  # Beyond it a sender feels the fault, as with a full send buffer.
_CHUNK_BYTES = 64 * 1024
_THROTTLE_SECONDS = 0.01  # How finely a throttled direction is portioned.
_RETRANSMISSION_SECONDS = 0.2  # Linux's TCP_RTO_MIN; doubled each time (RFC 6298, 5.5).
_LOSSES_MAX = 6  # In a row, of one piece.
_LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends a reset.


class Direction(StrEnum):
    """Which way bytes go through a relay."""

    TO_TARGET = "to_target"
    FROM_TARGET = "from_target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with one direction; by default, nothing is."""

    is_dropping: bool = False
    delay_seconds: float = 0.0
    bytes_per_second: float | None = None  # Of each connection by itself.
    loss: float = 0.0  # The share of pieces that are lost, each time that they are sent.

    @property
    def is_holding(self) -> bool:
        """Whether whatever comes is passed on later than it would be."""
        return self.is_dropping or bool(self.delay_seconds) or self.bytes_per_second is not None


HEALTHY = Fault()
BOTH = (Direction.TO_TARGET, Direction.FROM_TARGET)


class Relay:
    """Forwards every connection made to `address`. Faults concern open and later connections."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._lanes = {direction: _Lane() for direction in BOTH}
        self._connections: dict[_Connection, None] = {}
        self._server: asyncio.Server | None = None
        self._port = 0
        self.is_resetting = False  # Whether new connections are reset, as soon as they are there.
        self.connections_reset = 0

    @classmethod
    async def start(cls, target: str, *, port: int = 0) -> Self:
        """Listen on loopback, by default on a free port, for the sake of `host:port` *target*.

        Raises:
            OSError: the port cannot be bound.
        """
        relay = cls(target)
        relay._port = port
        await relay.admit()
        return relay

    async def stop(self) -> None:
        """Listen no more and reset every connection."""
        self.refuse()
        connections = list(self._connections)
        self.reset()
        await asyncio.gather(*(connection.wait_ended() for connection in connections))

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`. It stays the same while new connections are refused."""
        return f"{HOST}:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open, the held ones included."""
        return len(self._connections)

    def bytes_taken(self, direction: Direction) -> int:
        """How many bytes were ever taken from senders in that direction."""
        return self._lanes[direction].bytes_taken

    def bytes_given(self, direction: Direction) -> int:
        """How many of them were ever passed on."""
        return self._lanes[direction].bytes_given

    def bytes_held_back(self, direction: Direction) -> int:
        """How many of them were ever held for a fault, however long; it never falls."""
        return self._lanes[direction].bytes_held_back

    def impose(self, fault: Fault, *directions: Direction) -> None:
        """Have this be wrong, and nothing else; both ways unless one is named."""
        for lane in self._lanes_of(directions):
            lane.set(fault)

    def drop(self, *directions: Direction) -> None:
        """Let nothing through, and let nobody know; both ways unless one is named."""
        for lane in self._lanes_of(directions):
            lane.set(replace(lane.fault, is_dropping=True))

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Pass everything on *seconds* after it came."""
        for lane in self._lanes_of(directions):
            lane.set(replace(lane.fault, delay_seconds=seconds))

    def throttle(self, bytes_per_second: float, *directions: Direction) -> None:
        """Let each connection carry no more than that."""
        assert bytes_per_second > 0, "to let nothing through is to drop"
        for lane in self._lanes_of(directions):
            lane.set(replace(lane.fault, bytes_per_second=bytes_per_second))

    def lose(self, share: float, *directions: Direction) -> None:
        """Lose this share of what is sent, as a stream knows loss: it waits for each piece that was
        lost until that is sent again, and so does all that comes after. A piece is what was read at
        once, so a packet or some."""
        for lane in self._lanes_of(directions):
            lane.set(replace(lane.fault, loss=share))

    def reset(self) -> None:
        """Reset every open connection, on both sides at once; what was held is lost."""
        self.connections_reset += len(self._connections)
        for connection in list(self._connections):
            connection.reset()

    def refuse(self) -> None:
        """Refuse new connections until `admit`; open ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def admit(self) -> None:
        """Take new connections (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, HOST, self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def heal(self) -> None:
        """Undo every fault: what is held goes on its way, and new connections are taken."""
        self.is_resetting = False
        for lane in self._lanes.values():
            lane.set(HEALTHY)
        await self.admit()

    def _lanes_of(self, directions: tuple[Direction, ...]) -> list[_Lane]:
        return [self._lanes[direction] for direction in directions or BOTH]

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_resetting:
            self.connections_reset += 1
            _reset(writer)
            return
        connection = _Connection(self.target, reader, writer)
        self._connections[connection] = None
        try:
            await connection.run(
                self._lanes[Direction.TO_TARGET], self._lanes[Direction.FROM_TARGET]
            )
        finally:
            del self._connections[connection]


class _Lane:
    """One direction of all connections: its fault, and whoever waits for that to change."""

    def __init__(self) -> None:
        self.fault = HEALTHY
        self.bytes_taken = 0
        self.bytes_given = 0
        self.bytes_held_back = 0
        self._changed = asyncio.Event()

    def set(self, fault: Fault) -> None:
        self.fault = fault
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_changed(self, *, timeout_seconds: float | None = None) -> None:
        """Wait until another fault is set, or for so long."""
        changed = self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await changed.wait()

    async def wait_passable(self, since: float) -> None:
        """Wait until what came at *since* may go on."""
        loop = asyncio.get_running_loop()
        while True:
            wait = since + self.fault.delay_seconds - loop.time()
            if self.fault.is_dropping:
                await self.wait_changed()
            elif wait > 0:
                await self.wait_changed(timeout_seconds=wait)
            else:
                return

    async def wait_sent_again(self, size: int) -> None:
        """Wait as long as a piece takes to get through that may be lost, more than once."""
        losses = 0
        while losses < _LOSSES_MAX and random.random() < self.fault.loss:
            self.bytes_held_back += size if not losses else 0
            await self.wait_changed(timeout_seconds=_RETRANSMISSION_SECONDS * 2**losses)
            losses += 1


class _Connection:
    """One connection to the relay, and the one that it makes to the target for it."""

    def __init__(
        self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._target = target
        self._reader = reader
        self._writers = [writer]
        self._forwarding: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    def reset(self) -> None:
        """End both sides with a reset."""
        for writer in self._writers:
            _reset(writer)
        if self._forwarding is not None:
            self._forwarding.cancel()

    async def wait_ended(self) -> None:
        """Wait until both sides are closed."""
        await self._ended.wait()

    async def run(self, there: _Lane, back: _Lane) -> None:
        """Forward both ways until both have ended, one has failed, or both are reset."""
        self._forwarding = asyncio.create_task(self._forward(there, back))
        try:
            await asyncio.wait((self._forwarding,))
            if not self._forwarding.cancelled():
                self._forwarding.result()
        except* OSError:
            self.reset()
        finally:
            self._forwarding.cancel()
            for each in self._writers:
                each.close()
            self._ended.set()

    async def _forward(self, there: _Lane, back: _Lane) -> None:
        outward = _Pump(there, self._reader)
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(outward.take())
            if not await self._is_passable(there, taking):
                return  # Whoever dialled gave up before the target could have heard of it.
            host, _, port = self._target.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            self._writers.append(writer)
            inward = _Pump(back, reader)
            group.create_task(outward.give(writer))
            group.create_task(inward.take())
            group.create_task(inward.give(self._writers[0]))

    @staticmethod
    async def _is_passable(lane: _Lane, taking: asyncio.Task[None]) -> bool:
        """Wait for a way to the target, as a dialler's first packet does."""
        waiting = asyncio.create_task(lane.wait_passable(float("-inf")))
        try:
            await asyncio.wait((waiting, taking), return_when=asyncio.FIRST_COMPLETED)
            return waiting.done()
        finally:
            waiting.cancel()


class _Pump:
    """One direction of one connection: takes what comes, gives it on when its lane allows."""

    def __init__(self, lane: _Lane, reader: asyncio.StreamReader) -> None:
        self._lane = lane
        self._reader = reader
        self._held: deque[tuple[float, bytes | OSError]] = deque()
        self._held_bytes = 0
        self._moved = asyncio.Event()

    async def take(self) -> None:
        """Read until the sender ends, and hold how it ended behind what it sent."""
        loop = asyncio.get_running_loop()
        is_open = True
        while is_open:
            content: bytes | OSError
            try:
                content = await self._reader.read(_CHUNK_BYTES)
            except OSError as error:
                content = error
            is_open = isinstance(content, bytes) and content != b""
            if isinstance(content, bytes):
                self._held_bytes += len(content)
                self._lane.bytes_taken += len(content)
                self._lane.bytes_held_back += len(content) if self._lane.fault.is_holding else 0
            self._held.append((loop.time(), content))
            self._moved.set()
            while self._held_bytes > HELD_BYTES_MAX:
                await self._wait_moved()

    async def give(self, writer: asyncio.StreamWriter) -> None:
        """Pass on what is held, in order, up to the sender's end.

        Raises:
            OSError: the receiver is gone, or the sender's end was a reset.
        """
        while True:
            while not self._held:
                await self._wait_moved()
            came_at, content = self._held[0]
            await self._lane.wait_passable(came_at)
            if self._lane.fault.loss and isinstance(content, bytes):
                await self._lane.wait_sent_again(len(content))
                await self._lane.wait_passable(came_at)  # It may have been cut meanwhile.
            if isinstance(content, OSError):
                raise content
            if not content:
                break
            if writer.is_closing():
                raise ConnectionResetError("the receiver is gone")
            await self._write(writer, content)
            self._held.popleft()
            self._held_bytes -= len(content)
            self._moved.set()
        if not writer.is_closing():
            writer.write_eof()

    async def _write(self, writer: asyncio.StreamWriter, content: bytes) -> None:
        view = memoryview(content)
        while view:
            rate = self._lane.fault.bytes_per_second
            size = len(view) if rate is None else max(1, int(rate * _THROTTLE_SECONDS))
            portion, view = view[:size], view[size:]
            writer.write(portion)
            await writer.drain()
            self._lane.bytes_given += len(portion)
            if rate is not None:
                await self._lane.wait_changed(timeout_seconds=len(portion) / rate)
                await self._lane.wait_passable(float("-inf"))

    async def _wait_moved(self) -> None:
        self._moved.clear()
        await self._moved.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()
