"""The proxy: a gateway without a replica. Whatever comes is passed to a node that lives.

It owns no state and decides nothing. A request that may have reached a node that died is sent to
another only where that is safe (`repeating.py`); else the answer says that nobody knows.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from gateway import streaming
from gateway.bodies import BODY_BYTES_MAX, bodies
from gateway.problems import Problem
from gateway.repeating import is_repeatable
from gateway.serving import EDGE, Edge, problems_told
from gateway.tunnel import is_upgrade, tunnel
from gateway.upstreams import Upstream, Upstreams, target_of

PATIENCE_SECONDS = 5.0  # While no node can be reached: as long as a node waits for a leader.
CONNECT_SECONDS = 1.0
_PAUSE_SECONDS = 0.1

# Of one connection, not of the message (RFC 9110, §7.6.1), and what the proxy has checked itself.
_NOT_PASSED_ON = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "host", "content-length", "expect", "origin"}
)
_NOT_MADE_UP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_NOT_PASSED_BACK = _NOT_PASSED_ON | {"date", "server"}
_NOT_DONE = frozenset({503})  # A node says so of what certainly did not happen.
_UNKNOWN = frozenset({502, 504})
_READS = frozenset({"GET", "HEAD"})


class _Asked(NamedTuple):
    """What every node is asked alike."""

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes


class _Lost(Exception):
    """The node may have done it, and will not say."""


class _Unreached(Exception):
    """The node was not asked."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class Proxy:
    """Passes requests on; lives and dies with its application."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._upstreams = Upstreams(urls)
        self._session: aiohttp.ClientSession | None = None
        self._is_stopping = False

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """Hold the connections to the nodes while the application runs."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        watching = asyncio.create_task(self._upstreams.watch(self._session))
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await self._session.close()

    async def end_streams(self, _app: web.Application) -> None:
        """Let go of whoever follows a stream: he connects elsewhere, and goes on there."""
        self._is_stopping = True
        self._upstreams.end_streams()

    async def livez(self, _request: web.Request) -> web.StreamResponse:
        """`GET /livez`: this process answers; no node is asked."""
        return web.json_response({"status": "alive"})

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Have a node answer; the next one when that is gone, or says that it did not happen."""
        assert self._session is not None
        if is_upgrade(request):
            return await tunnel(request, self._upstreams, self._session)
        with bodies.reading(request) as reader:
            headers = _kept(request.headers, _NOT_PASSED_ON)
            content = await reader.content()
            return await self._answered(
                request, _Asked(request.method, target_of(request), headers, content)
            )

    async def _answered(self, request: web.Request, asked: _Asked) -> web.StreamResponse:
        clock = asyncio.get_running_loop()
        until = clock.time() + PATIENCE_SECONDS
        while (answer := await self._ask_each(request, asked, until)) is None:
            if clock.time() > until:
                raise Problem("no_quorum", f"no node answers, of {self._upstreams}")
            await asyncio.sleep(_PAUSE_SECONDS)
        return answer

    async def _ask_each(
        self, request: web.Request, asked: _Asked, until: float
    ) -> web.StreamResponse | None:
        """The first answer that is one, else the last; None when no node was reached.

        A node that says no may have waited before: once the time is up, no other is asked.
        """
        last: web.StreamResponse | None = None
        unknown: Problem | None = None  # What one may have done, no other can deny.
        for upstream in self._upstreams.in_turn():
            try:
                last = await self._ask(request, upstream, asked)
            except _Unreached as error:
                upstream.unreached(error.why)
                continue
            except _Lost as error:
                unknown = _unknown(f"{upstream.url} ended without an answer ({error})")
            else:
                if last.status not in _NOT_DONE | _UNKNOWN:
                    self._upstreams.prefer(upstream)
                    return last
                if last.status in _NOT_DONE:
                    if asyncio.get_running_loop().time() > until:
                        break
                    continue
                unknown = _unknown(f"{upstream.url} cannot tell what came of it")
            if not is_repeatable(asked.method, request.path, request.headers, asked.content):
                break
        if unknown is not None and asked.method not in _READS:
            raise unknown
        return last

    async def _ask(
        self, request: web.Request, upstream: Upstream, asked: _Asked
    ) -> web.StreamResponse:
        """One node's answer, passed on as it comes if it is a stream.

        Raises:
            _Unreached: it was not asked.
            _Lost: it may have been; nothing was passed on.
            ConnectionError: the reader of a stream is gone, or takes nothing any more.
        """
        assert self._session is not None
        answer: web.StreamResponse | None = None
        try:
            async with (
                upstream.lent() as lent,
                self._session.request(
                    asked.method,
                    URL(upstream.url + asked.target, encoded=True),
                    headers=asked.headers,
                    data=io.BytesIO(asked.content) if asked.content else None,
                    skip_auto_headers=_NOT_MADE_UP,
                    allow_redirects=False,
                ) as given,
            ):
                headers = _kept(given.headers, _NOT_PASSED_BACK)
                if given.content_length is not None and asked.method != "HEAD":
                    return web.Response(
                        status=given.status, headers=headers, body=await given.read()
                    )
                upstream.is_stream(lent)
                answer = web.StreamResponse(status=given.status, headers=headers)
                if asked.method == "HEAD":
                    answer.content_length = given.content_length
                await answer.prepare(request)
                async for chunk in given.content.iter_any():
                    await streaming.send(request, answer, chunk)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _Unreached(error) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            if answer is None:
                raise _Lost(f"{type(error).__name__} {error}".strip()) from None
            if not self._is_stopping and request.transport is not None:
                request.transport.abort()  # Half of an answer must not pass for the whole.
        await answer.write_eof()
        return answer


def create_proxy(urls: Mapping[str, str]) -> web.Application:
    """A gateway to the nodes at *urls*, by their names."""
    proxy = Proxy(urls)
    app = web.Application(middlewares=[problems_told], client_max_size=BODY_BYTES_MAX)
    app.router.add_get("/livez", proxy.livez)
    app.router.add_route("*", "/{path:.*}", proxy.forward)
    app.cleanup_ctx.append(proxy.running)
    app[EDGE] = Edge(say_goodbye=proxy.end_streams, note_problem=lambda _code: None)
    return app


def _unknown(what: str) -> Problem:
    return Problem("outcome_unknown", f"{what}: it may have happened; repeat it with the same id")


def _kept(headers: Mapping[str, str], dropped: frozenset[str]) -> CIMultiDict[str]:
    """The headers that travel on: none that the message's Connection header names either."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped and name.lower() not in named
    )
