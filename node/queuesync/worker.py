"""The worker: asks a coordinator, and another of its peers when that one is gone.

A base class: subclass it and say in `run_worker` what it does.
"""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import cycle
from types import TracebackType
from typing import Self, TypeVar

from cluster.errors import ConfigurationError, QuorateError
from gateway.ids import new_id
from node.config import Address as Place
from node.config import parse_address
from node.queuesync import frames
from node.queuesync.frames import DATA_BYTES_MAX, Deadline, Frame, FrameError, Kind
from node.queuesync.updates import Updates

T = TypeVar("T")

PATIENCE_SECONDS = 30.0  # An election and a restart together take less.
CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 5.0  # A coordinator that is alive says each second that a request waits.
PAUSE_SECONDS = 0.1  # After each failure; an election takes about a second.


class CoordinatorUnreachable(QuorateError):
    """Nobody answered in time. The request may have been handled: handlers run at least once."""


class QueryFailed(QuorateError):
    """The coordinator's handler raised, or it refused the request. The message says why."""


class Worker(ABC):
    """Connects to the coordinator at *host* and *port*, or to one of its *peers* ("host:port").

    Use `start`, or ask from a `with` block. A request whose answer was lost is asked again under
    the same id, so that a replicated queue holds it once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        are_updates_displayed: bool = False,
        *,
        peers: Iterable[str] = (),
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Raise ConfigurationError for addresses that are none; nothing is connected yet."""
        if isinstance(peers, str):
            raise ConfigurationError(f"peers is a list of addresses, not one text: {peers!r}")
        places = dict.fromkeys((Place(host, port), *map(parse_address, peers)))
        self.host = host
        self.port = port
        self._patience_seconds = patience_seconds
        self._updates = Updates(are_updates_displayed)
        self._places = cycle(places)
        self._place = next(self._places)
        self._connection: socket.socket | None = None
        self._turn = threading.Lock()

    @abstractmethod
    def run_worker(self) -> None:
        """What the worker does, by means of `query_coordinator`."""

    def start(self) -> None:
        """Connect, run `run_worker` to its end, and disconnect.

        Raises:
            CoordinatorUnreachable: there was none within the worker's patience.
        """
        with self._turn:
            self._insist(lambda _connection, _deadline: None)
        try:
            self.run_worker()
        finally:
            self.stop()

    def stop(self) -> None:
        """Disconnect. A later query connects again."""
        with self._turn:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def query_coordinator(self, data: bytes) -> bytes:
        """The coordinator's response. Threads that share a worker take turns.

        Raises:
            QueryFailed: the handler raised.
            CoordinatorUnreachable: nobody answered within the worker's patience, which counts while
                no coordinator is heard: one that says that the request waits is waited for.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"a request is bytes, not {type(data).__name__}")
        content = bytes(data)
        if len(content) > DATA_BYTES_MAX:
            raise ValueError(
                f"a request has at most {DATA_BYTES_MAX:,} bytes, and this has {len(content):,}"
            )
        request = Frame(Kind.REQUEST, new_id(), content)
        with self._turn:
            return self._insist(lambda peer, deadline: self._ask(peer, deadline, request))

    def _insist(self, query: Callable[[socket.socket, Deadline], T]) -> T:
        """Try on one coordinator after the other, until one lets it succeed."""
        deadline = Deadline(self._patience_seconds)
        while True:
            try:
                return query(self._connected(), deadline)
            except (OSError, FrameError, _AskAgain) as error:
                self._disconnect()
                trouble = f"{self._place}: {error}"
                self._updates.say(f"No answer from {trouble}")
            if deadline.left_seconds <= PAUSE_SECONDS:
                raise CoordinatorUnreachable(
                    f"no coordinator answered in {self._patience_seconds:g} s; the last: {trouble}"
                )
            self._place = next(self._places)
            threading.Event().wait(PAUSE_SECONDS)

    def _connected(self) -> socket.socket:
        if self._connection is None:
            connection = socket.create_connection(self._place, timeout=CONNECT_SECONDS)
            try:
                frames.send(connection, frames.hello())
                _check_greeting(_receive(connection))
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._updates.say(f"Connected to {self._place}")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._updates.say(f"Disconnected from {self._place}")

    def _ask(self, connection: socket.socket, deadline: Deadline, request: Frame) -> bytes:
        frames.send(connection, request)
        self._updates.say(f"Sent {len(request.content)} bytes")
        while (frame := _receive(connection)).kind is Kind.WAITING:
            deadline.renew()
        if frame.kind is Kind.LATER:
            raise _AskAgain(frame.text)
        if frame.kind is Kind.REFUSED or frame.id != request.id:
            self._disconnect()
        if frame.kind in {Kind.REFUSED, Kind.FAILED}:
            raise QueryFailed(frame.text)
        if frame.kind is not Kind.RESPONSE or frame.id != request.id:
            raise FrameError(f"a {frame.kind.name} to another request came")
        self._updates.say(f"Received {len(frame.content)} bytes")
        return frame.content


class _AskAgain(QuorateError):
    """The coordinator cannot answer now."""


def _receive(connection: socket.socket) -> Frame:
    frame = frames.receive(connection, silence_seconds=SILENCE_SECONDS)
    if frame is None:
        raise FrameError("it hung up")
    return frame


def _check_greeting(frame: Frame) -> None:
    if frame.kind is Kind.LATER:
        raise _AskAgain(frame.text)
    if frame.kind is Kind.REFUSED:
        raise FrameError(frame.text)
    if frame != frames.hello():
        raise FrameError(f"it is no coordinator that speaks {frames.PROTOCOL.decode()!r}")
