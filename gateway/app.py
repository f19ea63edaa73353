"""The application: routes over a replica, and the server that binds it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cluster.replica import Replica
from gateway import api_pages, origins, problems
from gateway.calls import Handler
from gateway.connect import connect
from gateway.defaults import SubmitDefaults
from gateway.events import MEDIA_TYPE as EVENT_STREAM
from gateway.exchange import BODY_BYTES_MAX, exchange
from gateway.measures import NO_ROUTE, Measures
from gateway.problems import Problem
from gateway.routes import ROUTES, STREAMS, Streamer
from gateway.service import Service

_log = logging.getLogger(__name__)

_http_log = logging.getLogger("gateway.http")

SHUTDOWN_SECONDS = 10.0  # What is in flight may take so long; a proposal waits 5 s at most.
Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class _Door:
    """The way in, closed until there is a replica to ask."""

    defaults: SubmitDefaults
    lease_seconds: float
    measures: Measures = field(default_factory=Measures)
    service: Service | None = None
    reader: asyncio.Task[None] | None = None
    lag: asyncio.Task[None] | None = None


_DOOR = web.AppKey("door", _Door)


def create_app(*, defaults: SubmitDefaults, lease_seconds: float = 15.0) -> web.Application:
    """The gateway, closed: but for `/livez` it answers 503 until `open_app` gives it a replica.

    *lease_seconds* is what workers are told, and must be the replica's own.
    """
    app = web.Application(middlewares=[_measured, problems_told], client_max_size=BODY_BYTES_MAX)
    app[_DOOR] = _Door(defaults=defaults, lease_seconds=lease_seconds)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _bound(route.handler))
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, _bound(route.handler))
    for stream in STREAMS:
        app.router.add_get(stream.path, _streamed(stream.handler))
    app.router.add_get("/connect", _streamed(connect), allow_head=False)
    app.router.add_get("/openapi.json", api_pages.description)
    app.router.add_get("/docs", api_pages.docs)
    app.on_cleanup.append(_close)
    return app


def open_app(app: web.Application, replica: Replica) -> None:
    """Serve *replica*, which the caller has started and stops after the application."""
    door = app[_DOOR]
    assert door.service is None, "a gateway is opened once"
    service = Service(
        replica=replica,
        defaults=door.defaults,
        lease_seconds=door.lease_seconds,
        measures=door.measures,
    )
    door.service = service
    door.reader = asyncio.create_task(service.watching.run(replica))
    door.lag = asyncio.create_task(door.measures.feel_lag())


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

    async def cleanup(self) -> None:
        for site in list(self.sites):
            await site.stop()
        await _say_goodbye(self.app)
        await super().cleanup()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not what a stranger sent that is no HTTP: it was answered, and could fill the log."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, HttpProcessingError)


_http_log.addFilter(_is_worth_a_line)


def _bound(handler: Handler) -> Answerer:
    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        service = request.app[_DOOR].service
        if service is None:
            return _while_closed(request)
        return await exchange(request, handler, service)

    return answer


def _streamed(handler: Streamer) -> Answerer:
    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        service = request.app[_DOOR].service
        if service is None:
            return _while_closed(request)
        return await handler(request, service)

    return answer


@web.middleware
async def _measured(request: web.Request, handler: Answerer) -> web.StreamResponse:
    """Note how long each answer took. A stream is no answer: it takes as long as its reader."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    response = await handler(request)
    resource = request.match_info.route.resource
    route = NO_ROUTE if resource is None else resource.canonical
    if response.status != 101 and response.content_type != EVENT_STREAM:
        seconds = loop.time() - started
        request.app[_DOOR].measures.request(request.method, route, response.status, seconds)
    return response


@web.middleware
async def problems_told(request: web.Request, handler: Answerer) -> web.StreamResponse:
    """Tell every failure as a problem; what nobody foresaw is a 500 and one line in the log."""
    try:
        origins.check(request)
        return await handler(request)
    except web.HTTPException as refusal:
        problem = problems.of_http(refusal, request)
    except ConnectionError:
        raise  # The client is gone: there is nobody to answer.
    except Exception as error:  # noqa: BLE001 - The edge is where a bug must become an answer.
        problem = problems.of_failure(error, f"{request.method} {request.path}", _log)
    request.app[_DOOR].measures.problem(problem.code)
    return problem.response()


def _while_closed(request: web.Request) -> web.Response:
    """Answer what needs no replica: that the process lives."""
    if request.path == "/livez":
        return web.json_response({"status": "alive"})
    raise Problem("starting", "the node is still loading its state; ask again, or ask another")


async def _say_goodbye(app: web.Application) -> None:
    """Let every long wait answer what it has, and whoever stays connected go: the node stops."""
    service = app[_DOOR].service
    if service is not None:
        service.watching.close()
        service.readers.close()
        await asyncio.gather(*(peer.leave() for peer in service.peers))


async def _close(app: web.Application) -> None:
    """Give back what callers who hung up left, and end the event reader."""
    door = app[_DOOR]
    if door.service is None or door.reader is None or door.lag is None:
        return
    await door.service.polls.close()
    await door.service.sessions.close()
    for task in (door.reader, door.lag):
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
