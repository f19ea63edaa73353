"""Who waits until this node has applied an index: readers, each with a deadline."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from cluster.errors import NotCaughtUp, Overloaded

WAITING_MAX = 20_000


class AppliedWaiters:
    """Waiters by the index that they wait for."""

    def __init__(self, applied_index: Callable[[], int]) -> None:
        self._applied_index = applied_index
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # A heap.
        self._given_up = 0  # How many of these no longer wait.
        self._waits = 0  # Tells waiters for the same index apart, in the order they came.

    async def wait(self, index: int, deadline: float) -> None:
        """Wait until *index* is applied here, at the latest until *deadline* on the loop's clock.

        Raises:
            NotCaughtUp: it is not, by then.
            Overloaded: too many wait already.
        """
        if index <= self._applied_index():
            return
        if len(self._waiting) - self._given_up >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} reads already wait for this node; repeat it later")
        future: asyncio.Future[None] = self._loop.create_future()
        self._waits += 1
        heapq.heappush(self._waiting, (index, self._waits, future))
        try:
            async with asyncio.timeout_at(deadline):
                await future
        except TimeoutError:
            raise NotCaughtUp(
                f"this node has applied {self._applied_index()}, not yet {index}"
            ) from None
        finally:
            if future.cancelled():
                self._give_up()

    def moved(self) -> None:
        """Wake those whose index has been applied."""
        applied = self._applied_index()
        while self._waiting and self._waiting[0][0] <= applied:
            future = heapq.heappop(self._waiting)[2]
            if future.cancelled():
                self._given_up -= 1
            else:
                future.set_result(None)

    def _give_up(self) -> None:
        """Count one out; an index that never comes must not keep those who once asked for it."""
        self._given_up += 1
        if self._given_up * 2 > len(self._waiting):
            still = [entry for entry in self._waiting if not entry[2].cancelled()]
            self._given_up -= len(self._waiting) - len(still)
            heapq.heapify(still)
            self._waiting = still
