"""The application: routes over a replica, closed until there is one."""

from __future__ import annotations

import asyncio
import functools
import logging
from dataclasses import dataclass, field

from aiohttp import web

from cluster.replica import Replica
from gateway import api_pages
from gateway.bodies import BODY_BYTES_MAX
from gateway.calls import Handler
from gateway.connect import STOPPING, connect
from gateway.defaults import SubmitDefaults
from gateway.events import MEDIA_TYPE as EVENT_STREAM
from gateway.exchange import exchange
from gateway.measures import NO_ROUTE, Measures
from gateway.problems import Problem
from gateway.routes import ROUTES, STREAMS
from gateway.routing import Streamer
from gateway.service import Peer, Service
from gateway.serving import EDGE, Answerer, Edge, problems_told

_log = logging.getLogger(__name__)


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
    door = app[_DOOR] = _Door(defaults=defaults, lease_seconds=lease_seconds)
    app[EDGE] = Edge(say_goodbye=_say_goodbye, note_problem=door.measures.problem)
    for route in ROUTES:
        path = _apart(route.path)
        app.router.add_route(route.method, path, _bound(route.handler))
        if route.method == "GET":
            app.router.add_route("HEAD", path, _bound(route.handler))
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


def _apart(path: str) -> str:
    """*path*, whose id is no word that another route has in its place: Allow would mix the two."""
    return path.replace("/tasks/{id}", "/tasks/{id:(?!batch$)[^{}/]+}")


def _bound(handler: Handler) -> Answerer:
    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        service = request.app[_DOOR].service
        if service is None or service.is_stopping:
            return _while_closed(request, service)
        return await exchange(request, handler, service)

    return answer


def _streamed(handler: Streamer) -> Answerer:
    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        service = request.app[_DOOR].service
        if service is None or service.is_stopping:
            return _while_closed(request, service)
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


def _while_closed(request: web.Request, service: Service | None) -> web.Response:
    """Answer what needs no replica: that the process lives."""
    if request.path == "/livez":
        return web.json_response({"status": "alive"})
    if service is None:
        raise Problem("starting", "the node is still loading its state; ask again, or ask another")
    raise Problem("stopping", STOPPING)


async def _say_goodbye(app: web.Application) -> None:
    """Let every long wait answer what it has, and whoever stays connected go: the node stops."""
    service = app[_DOOR].service
    if service is None:
        return
    service.is_stopping = True
    service.watching.close()
    service.readers.close()
    told: set[Peer] = set()
    while coming := service.peers - told:  # One may have been on its way in.
        told |= coming
        leaving = [peer.leave() for peer in coming]
        for left in await asyncio.gather(*leaving, return_exceptions=True):
            if isinstance(left, Exception):
                _log.error("a connection could not be left", exc_info=left)


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
