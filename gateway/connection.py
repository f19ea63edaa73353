"""A client's connection to one node: many calls in flight on one WebSocket, an outcome each.

It tries nothing twice and knows one URL: whom to ask, and what may be asked again, is its owner's
to say.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import aiohttp
import msgpack

from cluster.errors import NotCommitted, OutcomeUnknown
from gateway import frames
from gateway.frames import FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, PROTOCOL, Misframed, Pushed, Replied
from gateway.outbox import Outbox

OPEN_SECONDS = 3.0
ALIVE_SECONDS = 10.0  # Between pings; a node that leaves one unanswered for half of it is gone.
CLOSE_SECONDS = 2.0

OnPushed = Callable[[Pushed], None]


class Unreachable(NotCommitted):
    """The node could not be reached, or serves no WebSocket: nothing was asked of it."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.reason = reason


class AnswerLost(OutcomeUnknown):
    """The connection ended or the time was up before the answer came."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.reason = reason


class Answer(NamedTuple):
    """What a call was answered: status and value are those of HTTP's answer."""

    status: int
    value: Any
    index: int  # type: ignore[assignment]  # The applied state that it shows, for `min_index`.


class Connection:
    """One WebSocket to `/connect`. Belongs to the loop that opened it."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        on_pushed: OnPushed,
    ) -> None:
        self.url = url
        self.closed = asyncio.Event()  # Set once no call can be made here any more.
        self.close_reason = ""
        self._session = session
        self._socket = socket
        self._on_pushed = on_pushed
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._packer = msgpack.Packer()
        self._outbox = Outbox()
        self._running = asyncio.create_task(self._run(), name=f"connection to {url}")

    @classmethod
    async def open(cls, url: str, *, on_pushed: OnPushed = lambda _pushed: None) -> Self:
        """Connect to the node at *url*, `http://host:port`.

        *on_pushed* is given what the server says unasked, on this loop, and must not raise.

        Raises:
            Unreachable: nobody answers there within `OPEN_SECONDS`, or does not speak this.
        """
        session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                socket = await session.ws_connect(
                    f"{url}/connect",
                    protocols=(PROTOCOL,),
                    heartbeat=ALIVE_SECONDS,
                    max_msg_size=MESSAGE_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await session.close()
            raise Unreachable(url, why_not(error, seconds=OPEN_SECONDS)) from None
        except BaseException:
            await session.close()
            raise
        if socket.protocol != PROTOCOL:
            await socket.close()
            await session.close()
            raise Unreachable(url, f"it does not speak {PROTOCOL}")
        return cls(url, session, socket, on_pushed)

    async def call(
        self,
        name: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float,
        extras: Mapping[str, object] | None = None,
    ) -> Answer:
        """Ask for the operation *name*; the body holds the path's and the query's members too.

        Who is cancelled or waits no longer takes the call back: it keeps no place at the node.

        Raises:
            Unreachable: the connection is closed; it was not asked.
            AnswerLost: it may have happened.
            TypeError, ValueError, OverflowError: the body cannot be written, or is too large.
        """
        number, answered = self._begin(name, body, extras)
        timer = self._loop.call_later(
            timeout_seconds, self._expire, answered, name, timeout_seconds
        )
        try:
            return await answered
        finally:
            timer.cancel()
            self._take_back(number)

    def ask(
        self,
        name: str,
        body: Mapping[str, object] | None = None,
        *,
        extras: Mapping[str, object] | None = None,
    ) -> asyncio.Future[Answer]:
        """As `call`, without a limit of time: the future ends with the answer or the connection."""
        return self._begin(name, body, extras)[1]

    def _begin(
        self, name: str, body: Mapping[str, object] | None, extras: Mapping[str, object] | None
    ) -> tuple[int, asyncio.Future[Answer]]:
        """The number of a call that is on its way, and its answer to come."""
        if self.closed.is_set():
            raise Unreachable(self.url, f"the connection is closed: {self.close_reason}")
        number = next(self._numbers)
        frame = frames.packed_call(self._packer, number, name, body or {}, extras or {})
        if len(frame) > FRAME_BYTES_MAX:
            raise ValueError(f"{name!r} takes {len(frame):,} bytes, at most {FRAME_BYTES_MAX:,} go")
        answered: asyncio.Future[Answer] = self._loop.create_future()
        self._asked[number] = answered
        self._outbox.put(frame)
        return number, answered

    @property
    def is_idle(self) -> bool:
        """Whether no call waits for its answer."""
        return not self._asked

    async def close(self) -> None:
        """Say good-bye; whoever still waits for an answer is told that it was lost."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        writing = asyncio.create_task(self._outbox.run(self._socket.send_bytes))
        reason = "it was closed here"
        try:
            reason = await self._read()
        finally:
            writing.cancel()
            self._end(reason)
            await self._socket.close()
            await self._session.close()
            await asyncio.gather(writing, return_exceptions=True)

    async def _read(self) -> str:
        """Take what the server says until the connection ends; returns why it did."""
        socket = self._socket
        while True:
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                return _why(message, socket)
            try:
                for told in frames.read_told(message.data):
                    self._take(told)
            except Misframed as error:
                await socket.close(code=error.close_code, message=error.reason)
                return f"what {self.url} said cannot be understood: {error}"

    def _take(self, told: Replied | Pushed) -> None:
        if isinstance(told, Pushed):
            self._on_pushed(told)
            return
        answered = self._asked.pop(told.number, None)
        if answered is not None and not answered.done():
            answered.set_result(Answer(told.status, told.value, told.index))

    def _take_back(self, number: int) -> None:
        """Tell the node that nobody waits for that call's answer, unless it has come."""
        if self._asked.pop(number, None) is not None and not self.closed.is_set():
            self._outbox.put(frames.packed_cancel(number))

    def _expire(self, answered: asyncio.Future[Answer], name: str, seconds: float) -> None:
        if not answered.done():
            reason = f"no answer to {name!r} in {seconds:g} seconds"
            answered.set_exception(AnswerLost(self.url, reason))

    def _end(self, reason: str) -> None:
        self.close_reason = reason
        self.closed.set()
        lost = AnswerLost(self.url, f"the connection ended: {reason}")
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(lost)


def why_not(error: BaseException, *, seconds: float) -> str:
    """What a connection that failed, or answered nothing in so many *seconds*, says to a person."""
    if isinstance(error, TimeoutError):
        return f"no answer in {seconds:g} seconds"
    if isinstance(error, aiohttp.WSServerHandshakeError):
        # Asked again all the same, even after a 404: so answers, too, a proxy of nodes that start.
        return f"HTTP {error.status} and no WebSocket: no node is there, or a proxy passes none on"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"it answered HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "there is no host of this name"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "it does not speak TLS as we do: is it an http:// address?"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def _why(message: aiohttp.WSMessage, socket: aiohttp.ClientWebSocketResponse) -> str:
    """What a message that is none of ours says about the end."""
    if message.type is aiohttp.WSMsgType.CLOSE:
        return f"the node closed it with {message.data}: {message.extra or 'no reason given'}"
    if message.type is aiohttp.WSMsgType.TEXT:
        return "the node sent text, which this protocol has none of"
    error = socket.exception()
    return "the network ended it" if error is None else f"{type(error).__name__}: {error}"
