"""The coordinator: many clients at once, their requests handled one at a time, in order.

A base class: subclass it and say in `handle_request` what a request's response is.
"""

from __future__ import annotations

import concurrent.futures
import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.errors import ConfigurationError
from node.config import Address as Place
from node.outcomes import failure
from node.queuesync import frames
from node.queuesync.door import Door, later
from node.queuesync.frames import DATA_BYTES_MAX, Frame, FrameError, Kind
from node.queuesync.interrupts import forget, stop_on_signals
from node.queuesync.replicated import open_replicated
from node.queuesync.requests import (
    Address,
    AnotherRequest,
    Answer,
    AskLater,
    MemoryQueue,
    Request,
    RequestQueue,
)
from node.queuesync.updates import Updates

CLIENTS_MAX = 100
SILENCE_SECONDS = 60.0  # A client that says nothing gives up its place; workers come back unseen.
WAITING_SECONDS = 1.0  # How often a client hears that its request still waits.
STOP_SECONDS = 10.0  # What is being handled when it is to stop may take so long.

_log = logging.getLogger(__name__)


class Coordinator(ABC):
    """Serves from `start` to `stop`; may be used as a context manager.

    Alone, it keeps its queue in memory. Given *peers* (every coordinator's id and the address at
    which the others reach it, this one's included), its own *node_id* and a *data_directory*, the
    queue is replicated: any of them takes requests, the one that leads handles them, and when it
    dies the next goes on where it stopped. A handler then runs at least once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        max_num_of_clients: int = CLIENTS_MAX,
        are_updates_displayed: bool = False,
        *,
        peers: Mapping[str, str] | None = None,
        node_id: str | None = None,
        data_directory: str | Path | None = None,
        secret: bytes | None = None,
    ) -> None:
        """Raise ConfigurationError for settings that cannot be; nothing is bound yet."""
        if max_num_of_clients < 1:
            raise ConfigurationError(f"max_num_of_clients is {max_num_of_clients}, and must be 1+")
        self.host = host
        self.port = port
        self.max_num_of_clients = max_num_of_clients
        self._updates = Updates(are_updates_displayed)
        self._queue: RequestQueue = (
            MemoryQueue()
            if peers is None
            else open_replicated(
                peers, node_id=node_id, data_directory=data_directory, secret=secret
            )
        )
        self._door: Door | None = None
        self._keeper: threading.Thread | None = None

    @abstractmethod
    def handle_request(
        self,
        client_socket: socket.socket | None,
        client_address: Address,
        received_data: bytes,
    ) -> bytes:
        """The response to a request. What this raises, the client is told as a failure.

        *client_socket* tells who asks, and is None when the client is connected to another peer; it
        is not for sending. While this runs, no other request is handled.
        """

    # Starting and stopping.

    def start(self) -> None:
        """Listen, and return; threads serve until `stop`, Ctrl-C or SIGTERM.

        Raises:
            OSError: the address cannot be bound.
            QuorateError: the replicated queue cannot be opened.
        """
        if self._door is not None:
            raise ConfigurationError("a coordinator is started once")
        door = Door(
            self.host,
            self.port,
            clients_max=self.max_num_of_clients,
            serve=self.queue_client_request,
            updates=self._updates,
        )
        try:
            self._queue.start(on_failure=door.ring)
        except BaseException:
            door.close()
            raise
        self._door = door
        self._updates.say(f"Listening on {Place(*door.address)}")
        self._keeper = threading.Thread(target=self._keep, args=(door,), name="coordinator")
        self._keeper.start()
        stop_on_signals(door.ring)

    def stop(self) -> None:
        """Finish the request that is being handled, send its response, and end every thread."""
        if self._door is not None:
            self._door.ring()
        self.wait()

    def wait(self) -> None:
        """Wait until the coordinator has stopped, whoever asked it to."""
        if self._keeper is not None:
            self._keeper.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> Address:
        """Where it listens; port 0 has become a free one."""
        assert self._door is not None, "a coordinator has an address once it is started"
        return self._door.address

    # What may be overridden besides `handle_request`.

    def queue_client_request(self, client_socket: socket.socket, client_address: Address) -> None:
        """Queue one client's requests and send it the responses, until it hangs up.

        Runs on a thread of the client's own. An override may turn a client away by returning.
        """
        while frame := frames.receive(client_socket, silence_seconds=SILENCE_SECONDS):
            if frame.kind is not Kind.REQUEST:
                raise FrameError(f"a client sends requests, and this is a {frame.kind.name}")
            self._updates.say(f"Received {len(frame.content)} bytes from {Place(*client_address)}")
            request = Request(
                client_socket=client_socket,
                client_address=client_address,
                received_data=frame.content,
                id=frame.id,
            )
            response = self._response_to(request)
            frames.send(client_socket, response)
            self._updates.say(f"Sent {len(response.content)} bytes to {Place(*client_address)}")
            if response.kind in {Kind.REFUSED, Kind.LATER}:
                return

    def process_requests(self) -> None:
        """Handle each request in its turn, until there will be none any more."""
        while request := self.next_request():
            try:
                response = self.handle_request(
                    request.client_socket, request.client_address, request.received_data
                )
                self.answer_request(request, response)
            except BaseException as error:  # noqa: BLE001 - A handler may raise anything: sys.exit's.
                _log.exception("handling request %s failed", request.id)
                self.fail_request(request, failure(error).error)

    def Process_requests(self) -> None:  # noqa: N802 - QueueSync's own spelling of it.
        """`process_requests`, by its older name: either may be overridden."""
        self.process_requests()

    # For an override of `process_requests`.

    def next_request(self) -> Request | None:
        """Wait for the request whose turn it is; None once the coordinator stops."""
        return self._queue.next()

    def answer_request(self, request: Request, response: bytes) -> None:
        """Settle the request.

        Raises:
            TypeError, ValueError: the response is not bytes, or too many; it is not settled.
        """
        if not isinstance(response, bytes | bytearray | memoryview):
            raise TypeError(f"a response is bytes, not {type(response).__name__}")
        content = bytes(response)
        if len(content) > DATA_BYTES_MAX:
            raise ValueError(
                f"a response has at most {DATA_BYTES_MAX:,} bytes, and this has {len(content):,}"
            )
        self._queue.answer(request, Answer(content))

    def fail_request(self, request: Request, reason: str) -> None:
        """Settle the request: it failed, and its client is told why."""
        reason_bytes = reason.encode(errors="replace")[:DATA_BYTES_MAX]
        self._queue.answer(request, Answer(reason_bytes, is_failure=True))

    # The threads.

    def _keep(self, door: Door) -> None:
        """Let clients in until the bell rings, then end everything in order."""
        handling = threading.Thread(target=self._handle, args=(door,), name="requests", daemon=True)
        handling.start()
        door.run()
        door.lock()
        self._queue.close()
        handling.join(STOP_SECONDS)
        door.close()
        self._queue.stop()
        forget(door.ring)
        self._updates.say("Stopped")

    def _handle(self, door: Door) -> None:
        try:
            self.Process_requests()
        except BaseException:  # noqa: BLE001 - An override may raise anything: sys.exit's, too.
            _log.exception("process_requests failed, and the coordinator stops")
        finally:
            door.ring()

    def _response_to(self, request: Request) -> Frame:
        """Queue the request and wait for its answer, telling the client that it waits."""
        assert request.client_socket is not None
        answering = self._queue.ask(request)
        while not concurrent.futures.wait([answering], timeout=WAITING_SECONDS).done:
            frames.send(request.client_socket, Frame(Kind.WAITING, request.id))
        try:
            answer = answering.result()
        except AskLater as error:
            return later(str(error))
        except AnotherRequest as error:
            return Frame(Kind.REFUSED, request.id, str(error).encode())
        return Frame(
            Kind.FAILED if answer.is_failure else Kind.RESPONSE, request.id, answer.content
        )
