"""The client's calls for workers that are written by hand; `node.TaskWorker` needs none of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict, Unpack

from gateway.caller import Object
from gateway.client_calls import Calls
from gateway.client_errors import WorkerUnknown
from gateway.ids import new_id


class WorkerSession(TypedDict, total=False):
    """What a worker says of itself when it registers."""

    name: str
    queues: Sequence[str]
    types: Sequence[str]  # All, if left out.
    tags: Sequence[str]
    slots: int


class Work(Calls):
    """What a worker asks of a cluster."""

    async def register(self, **session: Unpack[WorkerSession]) -> Object:
        """Begin a session; *session* may name queues, types, tags, slots and a name."""
        return await self.call("register", {"id": new_id(), **session})

    async def lease(self, worker_id: str, *, slots: int = 1, wait: float = 0) -> list[Object]:
        """Up to *slots* tasks, waited for; none when the time, in seconds, is up."""
        body = {"id": worker_id, "max": slots, "request_id": new_id()}
        leased: list[Object] = (await self.call("lease", body, wait=wait))["tasks"]
        return leased

    async def heartbeat(self, worker_id: str, lease_tokens: Iterable[int]) -> Object:
        """Keep the session and the leases named; returns what to cancel and what was lost."""
        body = {"id": worker_id, "lease_tokens": list(lease_tokens)}
        return await self.call("heartbeat", body)

    async def complete(self, task_id: str, lease_token: int, result: object = None) -> Object:
        """Report a run's result."""
        body = {"id": task_id, "lease_token": lease_token, "result": result}
        return await self.call("complete", body)

    async def fail(
        self, task_id: str, lease_token: int, error: str, *, retry: bool = True
    ) -> Object:
        """Report a run's failure; *retry* false makes it the last one."""
        body = {"id": task_id, "lease_token": lease_token, "error": error, "retry": retry}
        return await self.call("fail", body)

    async def release(self, task_id: str, lease_token: int) -> Object:
        """Hand a task back unfinished, at no cost to it."""
        return await self.call("release", {"id": task_id, "lease_token": lease_token})

    async def progress(self, task_id: str, lease_token: int, progress: object) -> Object:
        """Report how far a run is."""
        body = {"id": task_id, "lease_token": lease_token, "progress": progress}
        return await self.call("progress", body)

    async def leave(self, worker_id: str) -> None:
        """End the session; a session that is over already is as good."""
        try:
            await self.call("leave", {"id": worker_id})
        except WorkerUnknown:
            return
