"""Who waits until this node has applied an index: readers, each with a deadline."""

from __future__ import annotations

import asyncio
import heapq

from cluster.errors import NotCaughtUp
from cluster.raft.driver import Driver


class AppliedWaiters:
    """Waiters by the index that they wait for."""

    def __init__(self, driver: Driver) -> None:
        self._engine = driver.engine
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # A heap.
        self._waits = 0  # Tells waiters for the same index apart, in the order they came.

    async def wait(self, index: int, deadline: float) -> None:
        """Wait until *index* is applied here, at the latest until *deadline* on the loop's clock.

        Raises:
            NotCaughtUp: it is not, by then.
        """
        if index <= self._engine.applied_index:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waits += 1
        heapq.heappush(self._waiting, (index, self._waits, future))
        try:
            async with asyncio.timeout_at(deadline):
                await future
        except TimeoutError:
            raise NotCaughtUp(
                f"this node has applied {self._engine.applied_index}, not yet {index}"
            ) from None

    def moved(self) -> None:
        """Wake those whose index has been applied."""
        applied = self._engine.applied_index
        while self._waiting and self._waiting[0][0] <= applied:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
