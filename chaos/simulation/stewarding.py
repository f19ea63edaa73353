"""Stewards: whoever pauses queues, purges them, clears the dead letters and drains workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from chaos.simulation.history import Outcome
from chaos.simulation.workload import QUEUES, Client
from cluster.core.commands import Cancel, Drain, Retry
from cluster.core.model import WorkerStatus
from cluster.core.queries import ListTasks, ListWorkers, Query
from cluster.core.queue_commands import (
    PauseQueue,
    PurgeQueue,
    RemoveDead,
    ResumeQueue,
    RetryDead,
)
from cluster.core.queue_queries import ListDead


class Steward(Client):
    """One person at a keyboard, who changes their mind now and then."""

    pause_seconds = 0.3
    _operations = 0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._paused: list[str] = []  # Queues, as far as it remembers.

    async def run(self) -> None:
        acts: tuple[Callable[[], Awaitable[None]], ...] = (
            *(self._pause, self._purge, self._drain),
            *(self._retry_dead, self._remove_dead, self._touch_a_task) * 2,
        )
        while True:
            await self.rest(self.pause_seconds)
            if self._paused and self.dice.random() < 0.5:
                await self._resume()
            else:
                await self.dice.choice(acts)()

    async def _pause(self) -> None:
        queue = self.dice.choice(QUEUES)
        self._paused.append(queue)
        await self.write_until_known(lambda _tag: PauseQueue(queue))

    async def _resume(self) -> None:
        queue = self._paused.pop()
        await self.write_until_known(lambda _tag: ResumeQueue(queue))

    async def _purge(self) -> None:
        operation, queue = self._operation(), self.dice.choice(QUEUES)
        await self.write_until_known(lambda _tag: PurgeQueue(operation, queue))

    async def _retry_dead(self) -> None:
        operation, queue = self._operation(), self.dice.choice((None, *QUEUES))
        await self.write_until_known(lambda _tag: RetryDead(operation, queue))

    async def _remove_dead(self) -> None:
        page = await self._answer(ListDead(limit=10))
        if page is not None and page.tasks:
            task_id = self.dice.choice(page.tasks).id
            await self.write_until_known(lambda _tag: RemoveDead(task_id))

    async def _drain(self) -> None:
        page = await self._answer(ListWorkers())
        active = [w.id for w in page.workers if w.status is WorkerStatus.ACTIVE] if page else []
        if active:
            worker_id = self.dice.choice(active)
            await self.write_until_known(lambda _tag: Drain(worker_id))

    async def _touch_a_task(self) -> None:
        page = await self._answer(ListTasks(limit=10))
        if page is not None and page.tasks:
            task_id, act = self.dice.choice(page.tasks).id, self.dice.choice((Cancel, Retry))
            await self.write_until_known(lambda _tag: act(task_id))

    async def _answer(self, query: Query[Any]) -> Any:
        """What any node says, or None."""
        asked = await self.read(query)
        return asked.value if asked.outcome is Outcome.OK else None

    def _operation(self) -> str:
        self._operations += 1
        return f"{self.name}-{self._operations}"
