"""The client's calls on queues, dead letters, and the operations that these begin."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypedDict, Unpack

from gateway.caller import Object
from gateway.client_calls import Calls, page_body


class DeadFilters(TypedDict, total=False):
    """Which dead letters are meant; those left out do not matter."""

    type: str
    queue: str


class Queues(Calls):
    """What a client may ask of queues."""

    async def queues(self) -> list[Object]:
        """Every queue that has tasks or is paused, by name."""
        return [queue async for queue in self._all("queues", "queues", {})]

    async def queue(self, name: str) -> Object:
        """One queue; any name is one, and may be empty."""
        return await self.call("queue", {"name": name})

    async def pause_queue(self, name: str) -> None:
        """Lease nothing of it any more; what runs goes on."""
        await self.call("pause_queue", {"name": name})

    async def resume_queue(self, name: str) -> None:
        """Lease its tasks again."""
        await self.call("resume_queue", {"name": name})

    async def purge_queue(self, name: str) -> str:
        """Begin to remove all that waits in it; returns the operation's id."""
        return str((await self.call("purge_queue", {"name": name}))["operation"])

    # Dead letters.

    async def dead_letters_page(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[DeadFilters]
    ) -> Object:
        """A page of the tasks that failed for good, the first to die first; `total` is of all."""
        return await self.call("dead_letters", page_body(limit, cursor, filters))

    async def dead_letters(self, **filters: Unpack[DeadFilters]) -> AsyncGenerator[Object, None]:
        """Every task that failed for good, the first to die first."""
        async for task in self._all("dead_letters", "tasks", filters):
            yield task

    async def retry_dead_letter(self, task_id: str) -> Object:
        """Put one back; returns the task."""
        return await self.call("retry_dead_letter", {"id": task_id})

    async def delete_dead_letter(self, task_id: str) -> None:
        """Remove one for good."""
        await self.call("delete_dead_letter", {"id": task_id})

    async def retry_dead_letters(self, **filters: Unpack[DeadFilters]) -> str:
        """Begin to put them back, all or those meant; returns the operation's id."""
        return str((await self.call("retry_dead_letters", filters))["operation"])

    async def operation(self, operation_id: str) -> Object:
        """How far an operation is: `done` of `total`, and whether it is `finished`."""
        return await self.call("operation", {"id": operation_id})
