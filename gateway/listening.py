"""Listening: connections as aiohttp serves them, with rules of ours.

Headers have to come in time; what is no HTTP, or expects what is none, is told so in a problem, as
every other mistake; and a WebSocket's message that is on its way is counted like any other body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import WSMessage, WSMsgType, web
from aiohttp.http_exceptions import LineTooLong

from gateway.bodies import Arriving, bodies
from gateway.problems import Problem

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

HEADERS_SECONDS = 10.0  # From the connection's begin, or from a later request's first byte.
_DETAIL_CHARACTERS_MAX = 200
_CONTINUE = "100-continue"
_CONTROL_HEADER_BYTES = 6  # A client's, with its mask (RFC 6455, §5.2).


@contextmanager
def arriving(request: web.Request) -> Iterator[Arriving]:
    """What comes on the WebSocket that *request* has become, counted for as long as it lasts."""
    connection = request.protocol
    assert isinstance(connection, _Connection), "all our sites listen here"
    connection.arriving = counted = Arriving(bodies)
    try:
        yield counted
    finally:
        connection.arriving = None
        counted.end()


def can_upgrade(request: web.Request, socket: web.WebSocketResponse) -> bool:
    """Whether *request* is one for *socket*. Headers that are no text are no handshake."""
    try:
        return bool(socket.can_prepare(request))
    except ValueError:
        return False


def _expecting(handler: Handler) -> Handler:
    """As *handler*, for requests whose expectation can be met (RFC 9110, §10.1.1)."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.get("Expect", _CONTINUE)
        if expected.lower() == _CONTINUE:
            return await handler(request)
        detail = f"Expect: {expected[:64]!a} is not known here, {_CONTINUE} alone"
        return Problem("expectation_failed", detail).response()

    return answer


async def receive(socket: web.WebSocketResponse, counted: Arriving) -> WSMessage:
    """The next message of *socket*, which leaves it to us to answer pings and to count them out."""
    while True:
        message = await socket.receive()
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is not WSMsgType.PONG:
            return message
        counted.dropped(_CONTROL_HEADER_BYTES + len(message.data))


class Listener(web.Server):
    """Makes a connection's protocol."""

    @classmethod
    def instead_of(cls, server: web.Server) -> Listener:
        """The same server, whose connections keep our rules."""
        return cls(
            _expecting(server.request_handler),
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            **server._kwargs,
        )

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_headers_timer", "arriving")

    _headers_timer: asyncio.TimerHandle | None
    arriving: Arriving | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.arriving = None
        self._headers_timer = self._begin_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.arriving is not None:
            self.arriving.came(len(data))
        if not self._is_between_requests:
            self._end_timer()
        elif self._headers_timer is None:
            self._headers_timer = self._begin_timer()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, message)  # It logs, and sees what was sent.
        detail = (message or "").partition("\n")[0][:_DETAIL_CHARACTERS_MAX].strip(" :")
        if isinstance(exc, LineTooLong):
            detail = "a line of the request, or one of its headers, is too long"
        code = "bad_request" if status < 500 else "internal"
        answer = Problem(code, detail or "the request cannot be read").response()
        answer.force_close()
        return answer

    @property
    def _is_between_requests(self) -> bool:
        """Whether no request has all its headers: what has come is the beginning of one."""
        return self._current_request is None and not self._messages

    def _begin_timer(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(HEADERS_SECONDS, self._give_up)

    def _end_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _give_up(self) -> None:
        self._headers_timer = None
        if self._is_between_requests:
            self.force_close()
