"""The routes: every path that the gateway serves, in one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from gateway import events, node_pages, tasks, workers
from gateway.calls import Handler
from gateway.service import Service

Streamer = Callable[[web.Request, Service], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """A method on a path, and who answers it. HEAD goes with every GET.

    Its name is what a frame on `/connect` calls it by: the body's, the path's and the query's
    members are one map there.
    """

    name: str
    method: str
    path: str
    handler: Handler


ROUTES: tuple[Route, ...] = (
    Route("submit", "POST", "/tasks", tasks.submit),
    Route("tasks", "GET", "/tasks", tasks.list_tasks),
    Route("task", "GET", "/tasks/{id}", tasks.get_task),
    Route("cancel", "DELETE", "/tasks/{id}", tasks.cancel),
    Route("retry", "POST", "/tasks/{id}/retry", tasks.retry),
    Route("complete", "POST", "/tasks/{id}/complete", tasks.complete),
    Route("fail", "POST", "/tasks/{id}/fail", tasks.fail),
    Route("release", "POST", "/tasks/{id}/release", tasks.release),
    Route("progress", "POST", "/tasks/{id}/progress", tasks.report),
    Route("workers", "GET", "/workers", workers.list_workers),
    Route("register", "POST", "/workers", workers.register),
    Route("worker", "GET", "/workers/{id}", workers.get_worker),
    Route("leave", "DELETE", "/workers/{id}", workers.leave),
    Route("lease", "POST", "/workers/{id}/lease", workers.lease),
    Route("heartbeat", "POST", "/workers/{id}/heartbeat", workers.heartbeat),
    Route("health", "GET", "/health", node_pages.health),
    Route("cluster", "GET", "/cluster", node_pages.cluster),
    Route("cluster_log", "GET", "/cluster/log", node_pages.cluster_log),
    Route("livez", "GET", "/livez", node_pages.livez),
    Route("readyz", "GET", "/readyz", node_pages.readyz),
)


class Stream(NamedTuple):
    """A path that is read with GET and answered in a form of its own: over HTTP alone."""

    path: str
    handler: Streamer


STREAMS: tuple[Stream, ...] = (Stream("/events", events.follow),)
