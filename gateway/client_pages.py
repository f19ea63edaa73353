"""The client's calls on tasks, workers and nodes.

Each is one operation of the gateway's; objects are plain dicts, as the API's pages describe them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, TypedDict, Unpack

from gateway.caller import Object
from gateway.client_calls import Calls, page_body
from gateway.event_source import EventSource

Status = Literal[
    "scheduled",
    "blocked",
    "pending",
    "processing",
    "retrying",
    "completed",
    "failed",
    "cancelled",
    "expired",
]


class TaskFilters(TypedDict, total=False):
    """Which tasks a list is of; those left out do not matter."""

    status: Status
    queue: str
    type: str
    worker: str


class EventFilters(TypedDict, total=False):
    """Which events are told; those left out do not matter."""

    queue: str
    task: str
    worker: str
    kind: str


class Pages(Calls):
    """What a client may ask of tasks, workers and nodes besides submitting."""

    # Tasks.

    async def task(self, task_id: str, *, wait: float = 0) -> Object:
        """One task; with *wait*, in seconds, once it has ended or the time is up."""
        return await self.call("task", {"id": task_id}, wait=wait)

    async def tasks_page(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[TaskFilters]
    ) -> Object:
        """A page of tasks, newest first; its `next` is the *cursor* of the one after it."""
        return await self.call("tasks", page_body(limit, cursor, filters))

    async def tasks(self, **filters: Unpack[TaskFilters]) -> AsyncGenerator[Object, None]:
        """Every task, newest first, page by page as they are asked for."""
        async for task in self._all("tasks", "tasks", filters):
            yield task

    async def task_events(self, task_id: str) -> list[Object]:
        """Its whole timeline, one object a transition."""
        events: list[Object] = (await self.call("task_events", {"id": task_id}))["events"]
        return events

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

    async def drain(self, worker_id: str) -> Object:
        """Ask a worker to finish what it runs, take nothing more and leave."""
        return await self.call("drain", {"id": worker_id})

    async def health(self) -> Object:
        """One node's health page; `status` says "unhealthy" when it has no quorum."""
        health: Object = (await self._caller.call("health", accepts_503=True)).value
        return health

    async def events(
        self,
        *,
        after: str | None = None,
        from_oldest: bool = False,
        **filters: Unpack[EventFilters],
    ) -> AsyncGenerator[Object, None]:
        """What happens, from now on, or after the event with the `position` *after*.

        Followed from node to node without a gap or a repeat.

        Raises:
            EventsGone: some that were not told yet are no longer kept.
        """
        source = EventSource(
            self._caller.urls,
            after=after,
            from_oldest=from_oldest,
            patience_seconds=self._caller.patience_seconds,
            **filters,
        )
        async with aclosing(aiter(source)) as told:
            async for event in told:
                yield event

    async def cluster(self) -> Object:
        """One node's view of the cluster."""
        return await self.call("cluster")
