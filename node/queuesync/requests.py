"""The queue of one coordinator alone: requests in the order they came, handled one at a time."""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cluster.errors import QuorateError

Address = tuple[str, int]  # A client's host and port.

REMEMBERED_MAX = 64  # Answered requests, for who repeats one: at most so many times a megabyte.


class Answer(NamedTuple):
    """What became of a request: the handler's response, or what it raised."""

    content: bytes
    is_failure: bool = False


class AskLater(QuorateError):
    """The request was not handled here and now. It is safe to repeat it, here or elsewhere."""


class AnotherRequest(QuorateError):
    """The request's id belongs to one with other data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One client's request, as the handler is given it."""

    client_socket: socket.socket | None  # None when the client is connected to another peer.
    client_address: Address
    received_data: bytes
    id: str
    lease_token: int = 0  # Under which it is handled; 0 in a queue that has no others.


class RequestQueue(Protocol):
    """Where clients' threads leave requests, and from which one thread takes them in turn."""

    def start(self, *, on_failure: Callable[[], None]) -> None:
        """Begin; *on_failure* is called when the queue cannot go on."""

    def ask(self, request: Request) -> Future[Answer]:
        """Queue the request; a repeat of a known one has the same answer.

        The future raises AskLater or AnotherRequest.
        """

    def next(self) -> Request | None:
        """Wait for the request whose turn it is; None when there will be none any more."""

    def answer(self, request: Request, answer: Answer) -> None:
        """Settle the request that `next` gave."""

    def close(self) -> None:
        """Hand out nothing more; `next` returns None once, and what waits is to be asked later."""

    def stop(self) -> None:
        """End whatever stands behind it. Comes after `close`."""


class MemoryQueue:
    """A queue in this process's memory, which ends with it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._open: dict[str, _Asked] = {}
        self._answered: OrderedDict[str, _Asked] = OrderedDict()
        self._is_closed = False

    def start(self, *, on_failure: Callable[[], None]) -> None:
        """Nothing stands behind it that could fail."""

    def ask(self, request: Request) -> Future[Answer]:
        """Queue the request, or find the one that it repeats."""
        with self._changed:
            known = self._open.get(request.id) or self._answered.get(request.id)
            if known is not None and known.data != request.received_data:
                return failed(AnotherRequest(f"request {request.id} was made with other data"))
            if known is not None:
                return known.answer
            if self._is_closed:
                return failed(AskLater("the coordinator is stopping"))
            asked = _Asked(request.received_data, Future())
            self._open[request.id] = asked
            self._waiting.append(request)
            self._changed.notify()
            return asked.answer

    def next(self) -> Request | None:
        """Wait for the oldest request that was not taken yet."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return None if self._is_closed else self._waiting.popleft()

    def answer(self, request: Request, answer: Answer) -> None:
        """Settle it, and remember the answer for a while: it may be lost on its way."""
        with self._changed:
            asked = self._answered[request.id] = self._open.pop(request.id)
            if len(self._answered) > REMEMBERED_MAX:
                self._answered.popitem(last=False)
        asked.answer.set_result(answer)

    def close(self) -> None:
        """Tell everyone who waits for a turn to ask later; what is being handled goes on."""
        with self._changed:
            self._is_closed = True
            untaken = [self._open.pop(request.id) for request in self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        for asked in untaken:
            asked.answer.set_exception(AskLater("the coordinator is stopping"))

    def stop(self) -> None:
        """Nothing stands behind it."""


class _Asked(NamedTuple):
    """A request's data, and the answer that its asker and repeats of it wait for."""

    data: bytes
    answer: Future[Answer]


def failed(error: QuorateError) -> Future[Answer]:
    """The answer that will not come, and why."""
    answer: Future[Answer] = Future()
    answer.set_exception(error)
    return answer
