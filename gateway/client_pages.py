"""The client's thin calls: what it looks at and steers beside the tasks it submits.

Each is one operation of the gateway's; objects are plain dicts, as the API's pages describe them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import TypedDict, Unpack

from gateway.caller import Caller, Object

PAGE_LIMIT = 1_000  # The most that a node puts on one page.


class TaskFilters(TypedDict, total=False):
    """Which tasks a list is of; those left out do not matter."""

    status: str
    queue: str
    type: str
    worker: str
    parent: str


class Pages:
    """What a client may ask of a cluster besides submitting."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def call(
        self,
        name: str,
        body: Mapping[str, object] | None = None,
        *,
        wait: float = 0,
        patience_seconds: float | None = None,
    ) -> Object:
        """Call any operation by its name, as `Caller.call`: what has no method here yet."""
        return await self._caller.call(name, body, wait=wait, patience_seconds=patience_seconds)

    # Tasks.

    async def task(self, task_id: str, *, wait: float = 0) -> Object:
        """One task; with *wait*, in seconds, once it has ended or the time is up."""
        return await self.call("task", {"id": task_id}, wait=wait)

    async def tasks_page(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[TaskFilters]
    ) -> Object:
        """A page of tasks, newest first; its `next` is the *cursor* of the one after it."""
        return await self.call("tasks", _page(limit, cursor, filters))

    async def tasks(self, **filters: Unpack[TaskFilters]) -> AsyncGenerator[Object, None]:
        """Every task, newest first, page by page as they are asked for."""
        async for task in self._all("tasks", "tasks", filters):
            yield task

    async def task_events(self, task_id: str) -> list[Object]:
        """Its whole timeline, one object a transition."""
        return await self._list("task_events", "events", {"id": task_id})

    async def cancel(self, task_id: str) -> Object:
        """Cancel a task that waits, or ask its worker to; returns the task."""
        return await self.call("cancel", {"id": task_id})

    async def retry(self, task_id: str) -> Object:
        """Put a failed, cancelled or expired task back; returns the task."""
        return await self.call("retry", {"id": task_id})

    # Workers and nodes.

    async def workers(self) -> list[Object]:
        """Every worker's session, those that were lost lately included."""
        return [worker async for worker in self._all("workers", "workers", {})]

    async def worker(self, worker_id: str) -> Object:
        """One worker's session."""
        return await self.call("worker", {"id": worker_id})

    async def health(self) -> Object:
        """One node's health page; `status` says "unhealthy" when it has no quorum."""
        return await self._caller.call("health", accepts_503=True)

    async def cluster(self) -> Object:
        """One node's view of the cluster."""
        return await self.call("cluster")

    async def _list(self, name: str, member: str, body: Mapping[str, object]) -> list[Object]:
        listed: list[Object] = (await self.call(name, body))[member]
        return listed

    async def _all(
        self, name: str, member: str, filters: Mapping[str, object]
    ) -> AsyncGenerator[Object, None]:
        cursor: str | None = None
        while True:
            page = await self.call(name, _page(PAGE_LIMIT, cursor, filters))
            for listed in page[member]:
                yield listed
            cursor = page["next"]
            if cursor is None:
                return


def _page(limit: int, cursor: str | None, filters: Mapping[str, object]) -> dict[str, object]:
    page = {"limit": limit, **filters}
    return page if cursor is None else page | {"cursor": cursor}
