"""Python's collector in a process that holds a machine: it never walks over all of the state.

A full collection looks at every object there is, a second and more for a million tasks, and the
loop stands still meanwhile. The records are acyclic: counting references frees them. So collections
happen on a timer and look only at what is young; what has stayed is frozen, out of the collector's
sight, after one last look. It goes on while a state is loaded, which makes objects fastest.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

TIDY_SECONDS = 0.1
BUSY_TIDY_SECONDS = 0.025  # While many are made: a look takes as long as there is to look at.
YOUNG_MANY = 10_000
YOUNG_MIN = 1_000  # Fewer new objects than that can wait.
OLD_MAX = 20_000  # So many that stayed are looked at together and frozen: a few milliseconds.


class Tidier:
    """One look after another, with `seconds` until the next; the collector itself is off."""

    def __init__(self) -> None:
        self.seconds = TIDY_SECONDS
        self._old = 0
        gc.disable()
        gc.collect()
        gc.freeze()

    def look(self) -> None:
        """Free what is young and in no use any more, and freeze what has stayed."""
        young = gc.get_count()[0]  # Made since the last look, less those that are gone by count.
        self.seconds = TIDY_SECONDS if young < YOUNG_MANY else BUSY_TIDY_SECONDS
        if young < YOUNG_MIN:
            return
        self._old += young - gc.collect(0)
        if self._old > OLD_MAX:
            gc.collect()  # Cycles that were in use when they were young.
            gc.freeze()
            self._old = 0


@contextmanager
def tidied() -> Iterator[None]:
    """Collect so on the running loop while the context lasts."""
    timer = _Timer(Tidier())
    timer.plan()
    try:
        yield
    finally:
        timer.stop()
        gc.unfreeze()
        gc.enable()


class _Timer:
    def __init__(self, tidier: Tidier) -> None:
        self._loop = asyncio.get_running_loop()
        self._tidier = tidier
        self._handle: asyncio.TimerHandle | None = None

    def plan(self) -> None:
        self._handle = self._loop.call_later(self._tidier.seconds, self._look)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _look(self) -> None:
        try:
            self._tidier.look()
        finally:
            self.plan()
