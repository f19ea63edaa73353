"""A portal: an event loop on a thread of its own, on which other threads have coroutines run."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")


class Portal:
    """Open from the start until `close`; any number of threads may use it at one time."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._is_closed = False
        # What is scheduled under it runs before the loop stops, so that nobody waits for ever.
        # Reentrant: the collector may end a forgotten client at any moment, on any thread.
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the loop, wait for it, and return or raise what it does.

        Raises:
            RuntimeError: nobody runs it to its end, and waiting for that would never end.
        """
        with self._lock:
            if reason := self._reason_not_to_wait():
                work.close()
                raise RuntimeError(reason)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:  # The end of the loop was the work's.
            if reason := self._reason_not_to_wait():
                raise RuntimeError(reason) from None
            raise
        finally:
            future.cancel()  # When it is our wait that was interrupted (Ctrl-C).

    def iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """What *items* yields, each asked for on the loop when it is asked for here."""
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if self._reason_not_to_wait() is None:  # Else the loop's end is theirs too.
                self.run(items.aclose())

    def close(self, farewell: Coroutine[Any, Any, None]) -> None:
        """Run *farewell*, then end the loop and its thread; what else still runs is cancelled."""
        with self._lock:
            if self._is_closed or os.getpid() != self._process:
                farewell.close()
                return
            self._is_closed = True
            asyncio.run_coroutine_threadsafe(self._leave(farewell), self._loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    async def _leave(self, farewell: Coroutine[Any, Any, None]) -> None:
        try:
            await farewell
        finally:
            self._loop.stop()

    def _reason_not_to_wait(self) -> str | None:
        if self._is_closed:
            return "the client is closed"
        if os.getpid() != self._process:
            return "the client was made before a fork: make it in the process that uses it"
        if threading.current_thread() is self._thread:
            return "the client's own thread cannot wait for it"
        return None

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)
