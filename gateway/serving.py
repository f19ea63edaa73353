"""Serving: an application bound to an address, and what every answer of ours has in common.

The nodes' gateway and the proxy are such applications; neither is known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway import origins, problems
from gateway.listening import Listener

_log = logging.getLogger(__name__)

_http_log = logging.getLogger("gateway.http")

IDLE_SECONDS = 75.0  # Between two requests on one connection.
SHUTDOWN_SECONDS = 10.0  # What is in flight may take so long; a proposal waits 5 s at most.
LINGER_SECONDS = 0.5  # So long a connection may stay to hear that the process stops.
LINGER_LOOK_SECONDS = 0.02  # Between two looks whether any stays.

Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class Edge:
    """What an application lets us do."""

    is_stopping: bool = False  # Each answer is the last on its connection.

    say_goodbye: Callable[[web.Application], Awaitable[None]]  # Let go of who stays connected.
    note_problem: Callable[[str], None]  # Given the code of each that is told.


EDGE = web.AppKey("edge", Edge)


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Bind and answer until the runner's `cleanup`, which lets what is in flight finish, bounded.

    Port 0 takes a free one; `runner.addresses` says which.

    Raises:
        OSError: the address cannot be bound; nothing is left running.
    """
    runner = _Runner(
        app,
        access_log=None,
        logger=_http_log,
        # Whoever hangs up is noticed: a waiting worker's offer must not outlive the caller.
        handler_cancellation=True,
        auto_decompress=False,  # A compressed body is refused: a small one may unfold to anything.
        keepalive_timeout=IDLE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


class _Runner(web.AppRunner):
    """Says good-bye before it stops reading, which is the first thing that aiohttp stops."""

    async def _make_server(self) -> web.Server:
        return Listener.instead_of(await super()._make_server())

    async def cleanup(self) -> None:
        for site in list(self.sites):
            await site.stop()
        edge = self.app[EDGE]
        edge.is_stopping = True
        await asyncio.gather(edge.say_goodbye(self.app), self._linger())
        await super().cleanup()

    async def _linger(self) -> None:
        """Let clients hear that their connections end: a request may be on its way on each."""
        until = asyncio.get_running_loop().time() + LINGER_SECONDS
        while self.server is not None and self.server.connections:
            if asyncio.get_running_loop().time() >= until:
                return
            await asyncio.sleep(LINGER_LOOK_SECONDS)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not what a stranger sent that is no HTTP: it was answered, and could fill the log."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, HttpProcessingError)


_http_log.addFilter(_is_worth_a_line)


@web.middleware
async def problems_told(request: web.Request, handler: Answerer) -> web.StreamResponse:
    """Tell every failure as a problem; what nobody foresaw is a 500 and one line in the log."""
    answer = await _answer(request, handler)
    if request.app[EDGE].is_stopping:
        answer.force_close()
    return answer


async def _answer(request: web.Request, handler: Answerer) -> web.StreamResponse:
    try:
        origins.check(request)
        return await handler(request)
    except web.HTTPException as refusal:
        problem = problems.of_http(refusal, request)
    except Exception as error:  # noqa: BLE001 - The edge is where a bug must become an answer.
        if isinstance(error, ConnectionError) and _is_gone(request):
            return web.Response()  # To nobody: that is no trouble of ours.
        problem = problems.of_failure(error, f"{request.method} {request.path}", _log)
    request.app[EDGE].note_problem(problem.code)
    return problem.response()


def _is_gone(request: web.Request) -> bool:
    """Whether the client has hung up."""
    return request.transport is None or request.transport.is_closing()
