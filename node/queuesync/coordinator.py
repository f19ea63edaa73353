"""The coordinator: many clients at once, their requests handled one at a time, in order.

A base class: subclass it and say in `handle_request` what a request's response is.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import selectors
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.errors import ConfigurationError
from node.config import Address as Place
from node.queuesync import frames
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
STOP_SECONDS = 10.0  # What is being handled, and what is being sent, may take so long each.

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
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._clients_lock = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._bell: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._address: Address | None = None

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
        if self._listener is not None:
            raise ConfigurationError("a coordinator is started once")
        self._listener = _listen(self.host, self.port, backlog=self.max_num_of_clients)
        try:
            self._queue.start(on_failure=self._ring)
        except BaseException:
            self._listener.close()
            raise
        host, port = self._listener.getsockname()[:2]
        self._address = (str(host), int(port))
        self._updates.say(f"Listening on {Place(*self._address)}")
        self._bell, hears_bell = socket.socketpair()
        self._keeper = threading.Thread(target=self._keep, args=(hears_bell,), name="coordinator")
        self._keeper.start()
        stop_on_signals(self._ring)

    def stop(self) -> None:
        """Finish the request that is being handled, send its response, and end every thread."""
        self._ring()
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
        assert self._address is not None, "a coordinator has an address once it is started"
        return self._address

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
            except Exception as error:  # noqa: BLE001 - A handler may raise anything at all.
                _log.exception("handling request %s failed", request.id)
                self.fail_request(request, f"{type(error).__name__}: {error}")

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

    def _keep(self, hears_bell: socket.socket) -> None:
        """Accept clients until the bell rings, then end everything in order."""
        handling = threading.Thread(target=self._handle, name="requests", daemon=True)
        handling.start()
        assert self._listener is not None
        with hears_bell, selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(hears_bell, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _events in selector.select()}
                if hears_bell in ready:
                    break
                self._accept(self._listener)
        self._close(handling)

    def _handle(self) -> None:
        try:
            self.Process_requests()
        except Exception:  # noqa: BLE001 - An override may raise anything at all.
            _log.exception("process_requests failed, and the coordinator stops")
        finally:
            self._ring()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except OSError as error:  # Hung up meanwhile, or too many files are open.
            _log.warning("a client could not be taken: %s", error)
            return
        place = (str(address[0]), int(address[1]))
        with self._clients_lock:
            if len(self._clients) < self.max_num_of_clients:
                thread = threading.Thread(
                    target=self._serve, args=(client, place), name=f"client {place}", daemon=True
                )
                self._clients[client] = thread
                thread.start()
                return
        self._updates.say(
            f"Turned {Place(*place)} away: {self.max_num_of_clients} clients are here"
        )
        with client:
            _try_to_send(client, _later(f"it has its {self.max_num_of_clients} clients"))

    def _serve(self, client: socket.socket, address: Address) -> None:
        self._updates.say(f"{Place(*address)} connected")
        try:
            _greet(client)
            self.queue_client_request(client, address)
        except FrameError as error:
            _try_to_send(client, Frame(Kind.REFUSED, content=str(error).encode()))
            self._updates.say(f"{Place(*address)} was refused: {error}")
        except OSError as error:
            _log.debug("the connection to %s broke: %s", Place(*address), error)
        except Exception:  # noqa: BLE001 - An override may raise anything at all.
            _log.exception("queue_client_request failed for %s", Place(*address))
        finally:
            with self._clients_lock:
                del self._clients[client]
            client.close()
            self._updates.say(f"{Place(*address)} disconnected")

    def _response_to(self, request: Request) -> Frame:
        """Queue the request and wait for its answer, telling the client that it waits."""
        assert request.client_socket is not None
        answering = self._queue.ask(request)
        while not concurrent.futures.wait([answering], timeout=WAITING_SECONDS).done:
            frames.send(request.client_socket, Frame(Kind.WAITING, request.id))
        try:
            answer = answering.result()
        except AskLater as error:
            return _later(str(error))
        except AnotherRequest as error:
            return Frame(Kind.REFUSED, request.id, str(error).encode())
        return Frame(
            Kind.FAILED if answer.is_failure else Kind.RESPONSE, request.id, answer.content
        )

    def _close(self, handling: threading.Thread) -> None:
        assert self._listener is not None
        self._listener.close()
        self._queue.close()
        handling.join(STOP_SECONDS)
        with self._clients_lock:
            clients = dict(self._clients)
        for client in clients:
            _shut(client, socket.SHUT_RD)  # Responses on their way still leave.
        deadline = frames.Deadline(STOP_SECONDS)
        for client, thread in clients.items():
            thread.join(max(0.0, deadline.left_seconds))
            _shut(client, socket.SHUT_RDWR)
        self._queue.stop()
        forget(self._ring)
        assert self._bell is not None
        self._bell.close()
        self._updates.say("Stopped")

    def _ring(self) -> None:
        """Have the coordinator stop; never blocks, so that a signal handler may."""
        if self._bell is None:
            return
        with contextlib.suppress(OSError):  # It rings already, or everything has stopped.
            self._bell.send(b"!", socket.MSG_DONTWAIT)


def _listen(host: str, port: int, *, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        told = f"{Place(host, port)} cannot be listened on: {error.strerror or error}"
        raise OSError(error.errno, told) from None


def _greet(client: socket.socket) -> None:
    frame = frames.receive(client, silence_seconds=frames.FRAME_SECONDS)
    if frame != frames.hello():
        raise FrameError(f"a client begins with {frames.PROTOCOL.decode()!r}")
    frames.send(client, frames.hello())


def _later(reason: str) -> Frame:
    return Frame(Kind.LATER, content=reason.encode())


def _try_to_send(client: socket.socket, frame: Frame) -> None:
    with contextlib.suppress(OSError):  # It has hung up: there is nobody to tell.
        frames.send(client, frame)


def _shut(client: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # It was closed meanwhile.
        client.shutdown(how)
