"""The routes: every path that the gateway serves, in one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from gateway import (
    dead_letters,
    events,
    members,
    node_pages,
    operations,
    queues,
    submitting,
    tasks,
    workers,
)
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
    Route("submit", "POST", "/tasks", submitting.submit),
    Route("submit_batch", "POST", "/tasks/batch", submitting.submit_batch),
    Route("tasks", "GET", "/tasks", tasks.list_tasks),
    Route("task", "GET", "/tasks/{id}", tasks.get_task),
    Route("task_events", "GET", "/tasks/{id}/events", tasks.list_events),
    Route("cancel", "DELETE", "/tasks/{id}", tasks.cancel),
    Route("retry", "POST", "/tasks/{id}/retry", tasks.retry),
    Route("complete", "POST", "/tasks/{id}/complete", tasks.complete),
    Route("fail", "POST", "/tasks/{id}/fail", tasks.fail),
    Route("release", "POST", "/tasks/{id}/release", tasks.release),
    Route("progress", "POST", "/tasks/{id}/progress", tasks.report),
    Route("dead_letters", "GET", "/dlq/failed-tasks", dead_letters.list_dead),
    Route("retry_dead_letter", "POST", "/dlq/failed-tasks/{id}/retry", dead_letters.retry),
    Route("delete_dead_letter", "DELETE", "/dlq/failed-tasks/{id}", dead_letters.remove),
    Route("retry_dead_letters", "POST", "/dlq/retry", dead_letters.retry_all),
    Route("queues", "GET", "/queues", queues.list_queues),
    Route("queue", "GET", "/queues/{name}", queues.get_queue),
    Route("pause_queue", "POST", "/queues/{name}/pause", queues.pause),
    Route("resume_queue", "POST", "/queues/{name}/resume", queues.resume),
    Route("purge_queue", "DELETE", "/queues/{name}/tasks", queues.purge),
    Route("operation", "GET", "/operations/{id}", operations.get_operation),
    Route("workers", "GET", "/workers", workers.list_workers),
    Route("register", "POST", "/workers", workers.register),
    Route("worker", "GET", "/workers/{id}", workers.get_worker),
    Route("drain", "POST", "/workers/{id}/drain", workers.drain),
    Route("leave", "DELETE", "/workers/{id}", workers.leave),
    Route("lease", "POST", "/workers/{id}/lease", workers.lease),
    Route("heartbeat", "POST", "/workers/{id}/heartbeat", workers.heartbeat),
    Route("health", "GET", "/health", node_pages.health),
    Route("cluster", "GET", "/cluster", node_pages.cluster),
    Route("cluster_log", "GET", "/cluster/log", node_pages.cluster_log),
    Route("add_member", "POST", "/cluster/members", members.add),
    Route("remove_member", "DELETE", "/cluster/members/{id}", members.remove),
    Route("change_leader", "POST", "/cluster/leader", members.lead),
    Route("livez", "GET", "/livez", node_pages.livez),
    Route("readyz", "GET", "/readyz", node_pages.readyz),
)


class Stream(NamedTuple):
    """A path that is read with GET and answered in a form of its own: over HTTP alone."""

    path: str
    handler: Streamer


STREAMS: tuple[Stream, ...] = (Stream("/events", events.follow),)
