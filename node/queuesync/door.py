"""The door: where clients come in, so many at once, each on a thread of its own.

Knows frames' greeting and farewells, and nothing of requests.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections.abc import Callable

from node.config import Address as Place
from node.queuesync import frames
from node.queuesync.frames import Deadline, Frame, FrameError, Kind
from node.queuesync.requests import Address
from node.queuesync.updates import Updates

FAREWELL_SECONDS = 10.0  # What is being sent when the door closes may take so long.
_PAUSE_SECONDS = 0.1  # After a client that could not be taken: too many files may be open.

_log = logging.getLogger(__name__)

Serve = Callable[[socket.socket, Address], None]


class Door:
    """Open from its making on: clients may connect, and wait until `run` lets them in."""

    def __init__(
        self, host: str, port: int, *, clients_max: int, serve: Serve, updates: Updates
    ) -> None:
        """Listen. *serve* is called with each client, once it was greeted.

        Raises:
            OSError: the address cannot be bound.
        """
        self._listener = _listen(host, port, backlog=clients_max)
        self._bell, self._hears_bell = socket.socketpair()
        self._clients_max = clients_max
        self._serve = serve
        self._updates = updates
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        bound_host, bound_port = self._listener.getsockname()[:2]
        self.address: Address = (str(bound_host), int(bound_port))

    def run(self) -> None:
        """Let clients in until the bell rings."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._hears_bell, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _events in selector.select()}
                if self._hears_bell in ready:
                    return
                self._let_in()

    def ring(self) -> None:
        """Have `run` end. Never blocks, so that a signal handler may."""
        with contextlib.suppress(OSError):  # It rings already, or the door is shut.
            self._bell.send(b"!", socket.MSG_DONTWAIT)

    def lock(self) -> None:
        """Let nobody in any more."""
        self._listener.close()

    def close(self) -> None:
        """See every client out: what is being sent to it still is, nothing more is read."""
        self.lock()
        with self._lock:
            clients = dict(self._clients)
        for client in clients:
            _shut(client, socket.SHUT_RD)
        deadline = Deadline(FAREWELL_SECONDS)
        for client, thread in clients.items():
            thread.join(max(0.0, deadline.left_seconds))
            _shut(client, socket.SHUT_RDWR)
        self._bell.close()
        self._hears_bell.close()

    def _let_in(self) -> None:
        try:
            client, address = self._listener.accept()
        except OSError as error:
            _log.warning("a client could not be taken: %s", error)
            threading.Event().wait(_PAUSE_SECONDS)
            return
        place = (str(address[0]), int(address[1]))
        if reason := self._take(client, place):
            self._updates.say(f"Turned {Place(*place)} away: {reason}")
            with client:
                _try_to_send(client, later(reason))

    def _take(self, client: socket.socket, address: Address) -> str | None:
        """Serve the client on a thread of its own; if that cannot be, why."""
        with self._lock:
            if len(self._clients) >= self._clients_max:
                return f"it has its {self._clients_max} clients"
            thread = threading.Thread(
                target=self._receive, args=(client, address), name=f"client {address}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                return f"it has no thread for another client: {error}"
            self._clients[client] = thread
        return None

    def _receive(self, client: socket.socket, address: Address) -> None:
        self._updates.say(f"{Place(*address)} connected")
        try:
            _greet(client)
            self._serve(client, address)
        except FrameError as error:
            _try_to_send(client, Frame(Kind.REFUSED, content=str(error).encode()))
            self._updates.say(f"{Place(*address)} was refused: {error}")
        except OSError as error:
            _log.debug("the connection to %s broke: %s", Place(*address), error)
        except Exception:  # noqa: BLE001 - An override may raise anything at all.
            _log.exception("serving %s failed", Place(*address))
        finally:
            with self._lock:
                del self._clients[client]
            client.close()
            self._updates.say(f"{Place(*address)} disconnected")


def later(reason: str) -> Frame:
    """What a client is told that should ask again, perhaps elsewhere."""
    return Frame(Kind.LATER, content=reason.encode())


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


def _try_to_send(client: socket.socket, frame: Frame) -> None:
    with contextlib.suppress(OSError):  # It has hung up: there is nobody to tell.
        frames.send(client, frame)


def _shut(client: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # It was closed meanwhile.
        client.shutdown(how)
