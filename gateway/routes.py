"""The routes: every path that the gateway serves, in one table."""

from __future__ import annotations

from typing import NamedTuple

from gateway import node_pages, tasks, workers
from gateway.exchange import Handler


class Route(NamedTuple):
    """A method on a path, and who answers it. HEAD goes with every GET."""

    method: str
    path: str
    handler: Handler


ROUTES: tuple[Route, ...] = (
    Route("POST", "/tasks", tasks.submit),
    Route("GET", "/tasks", tasks.list_tasks),
    Route("GET", "/tasks/{id}", tasks.get_task),
    Route("DELETE", "/tasks/{id}", tasks.cancel),
    Route("POST", "/tasks/{id}/retry", tasks.retry),
    Route("POST", "/tasks/{id}/complete", tasks.complete),
    Route("POST", "/tasks/{id}/fail", tasks.fail),
    Route("POST", "/tasks/{id}/release", tasks.release),
    Route("POST", "/tasks/{id}/progress", tasks.report),
    Route("GET", "/workers", workers.list_workers),
    Route("POST", "/workers", workers.register),
    Route("GET", "/workers/{id}", workers.get_worker),
    Route("DELETE", "/workers/{id}", workers.leave),
    Route("POST", "/workers/{id}/lease", workers.lease),
    Route("POST", "/workers/{id}/heartbeat", workers.heartbeat),
    Route("GET", "/health", node_pages.health),
    Route("GET", "/cluster", node_pages.cluster),
    Route("GET", "/livez", node_pages.livez),
    Route("GET", "/readyz", node_pages.readyz),
)
