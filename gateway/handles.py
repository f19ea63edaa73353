"""Handles: a task that was submitted, to be asked about and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from cluster.errors import NotCommitted, OutcomeUnknown
from gateway.client_errors import NO_RESULTS

if TYPE_CHECKING:
    from gateway.caller import Object
    from gateway.client import Client

R = TypeVar("R")

FINAL = frozenset({"completed", *NO_RESULTS})
WAIT_SECONDS = 30.0  # How long one call waits on the server; then it asks again.
UNLED_SECONDS = 5.0  # How long a node is waited for that may have lost its leader.
LATE_SECONDS = 1.0  # An answer may be later than the time that the server was given.


class Handle(Generic[R]):
    """A task by its id. Its result is what its handler returned, as the wire carries it.

    A list comes back where a handler returned a tuple; bytes are bytes.
    """

    __slots__ = ("_client", "_known_index", "id", "is_duplicate")

    def __init__(
        self,
        client: Client,
        task_id: str,
        *,
        is_duplicate: bool = False,
        known_index: int | None = None,
    ) -> None:
        self.id = task_id
        self.is_duplicate = is_duplicate  # Its id or key had been seen: nothing new was made.
        self._known_index = known_index  # A state that has it, if one was told.
        self._client = client

    def __repr__(self) -> str:
        return f"<handle of task {self.id}>"

    async def task(self) -> Object:
        """All that the cluster knows of it."""
        return await self._client.task(self.id)

    async def status(self) -> str:
        """Its status now."""
        return str((await self.task())["status"])

    async def result(self, *, timeout: float | None = None) -> R:  # noqa: ASYNC109 - The contract's name.
        """Wait for its end, on the server, and return the result.

        With a *timeout*, in seconds, even a cluster out of reach is waited for so long.

        Raises:
            NoResult: it failed, was cancelled or has expired, each as a class of its own.
            TimeoutError: it has not ended yet, or no node could say so.
            TaskUnknown: there is no such task, or no longer.
        """
        task = await self.ended(timeout=timeout)
        if error := NO_RESULTS.get(task["status"]):
            raise error(task)
        return cast("R", task["result"])

    async def ended(self, *, timeout: float | None = None) -> Object:  # noqa: ASYNC109 - As `result`.
        """Wait for its end, whatever that is, and return the task as it then is.

        Raises:
            TimeoutError: it has not ended yet, or no node could say so.
            TaskUnknown: there is no such task, or no longer.
        """
        if timeout is None:
            while (task := await self._look(WAIT_SECONDS))["status"] not in FINAL:
                pass
            return task
        status = "could not be asked about"
        try:
            async with asyncio.timeout(timeout + LATE_SECONDS):
                async for task in self._looks(timeout):
                    if task["status"] in FINAL:
                        return task
                    status = f"is {task['status']}"
        except (NotCommitted, OutcomeUnknown, TimeoutError) as error:
            raise TimeoutError(f"task {self.id} {status} after {timeout:g} seconds") from error
        raise TimeoutError(f"task {self.id} {status} after {timeout:g} seconds")

    async def _looks(self, seconds: float) -> AsyncIterator[Object]:
        """The task again and again, until the time is up: at least once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        left = max(0.0, seconds)
        while left >= 0:
            wait = min(left, WAIT_SECONDS)
            yield await self._look(wait, patience_seconds=left - wait + LATE_SECONDS)
            left = until - loop.time()

    async def _look(self, wait: float, *, patience_seconds: float | None = None) -> Object:
        """The task at its end, or as it is when the time is up.

        What completed stays so: whoever knows of the task may say it, and the leader is not asked.
        Other ends can be undone by a retry. Where no end was heard of, the node may be cut off from
        the others: the next look asks the leader.
        """
        known_index, self._known_index = self._known_index, None
        if known_index is None or not wait:
            return await self._client.call(
                "task", {"id": self.id}, wait=wait, patience_seconds=patience_seconds
            )
        task = await self._client.call(
            "task",
            {"id": self.id},
            wait=min(wait, UNLED_SECONDS),
            patience_seconds=patience_seconds,
            after_index=known_index,
        )
        if task["status"] in NO_RESULTS:
            return await self._client.task(self.id)
        return task

    async def cancel(self) -> Object:
        """Cancel it if it waits, ask its worker to if it runs; returns the task."""
        return await self._client.cancel(self.id)

    async def retry(self) -> Object:
        """Put it back, once it has failed, was cancelled or has expired; returns the task."""
        self._known_index = None
        return await self._client.retry(self.id)
