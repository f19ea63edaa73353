"""Watching: one reader of the replica's events, who tells whoever waits for a task or a worker.

A bell only says "look again": what happened is read from the state, so a bell rung once too often
costs a look, and the reader that fell behind rings them all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from cluster.core.model import EVENT_KINDS, Event, TaskStatus
from cluster.errors import QuorateError
from cluster.replica import Replica

_log = logging.getLogger(__name__)

BATCH_EVENTS = 1_000  # Dispatched at a time: the loop must not be held up.

_FINAL = frozenset(status.value for status in TaskStatus if status.is_final)


class Bell:
    """Rings when what its owner waits for may have happened."""

    def __init__(self, hears: Callable[[Event], bool]) -> None:
        self._hears = hears
        self._rung = asyncio.Event()
        self.index = 0  # The newest event heard: a state at least as new shows what it was.

    def hear(self, event: Event) -> None:
        """Ring, if the event is of the kind that the owner waits for."""
        if self._hears(event):
            self.index = event.index
            self._rung.set()

    def ring(self) -> None:
        """Ring, whatever happened."""
        self._rung.set()

    async def wait(self, until: float) -> bool:
        """Whether it rang before the loop's clock showed *until*; the next wait is for the next."""
        try:
            async with asyncio.timeout_at(until):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class Listener(Protocol):
    """Whoever is told of the events of one task or worker: a bell, or a worker's session."""

    def hear(self, event: Event) -> None:
        """Take note of what happened."""

    def ring(self) -> None:
        """Look for what may have happened: some events were missed, or the node is stopping."""


class Watching:
    """Who listens, by task id and by worker id."""

    def __init__(self) -> None:
        self._by_task: dict[str, list[Listener]] = {}
        self._by_worker: dict[str, list[Listener]] = {}
        self._is_closed = False
        self.told = Counter(dict.fromkeys(EVENT_KINDS, 0))  # How many events of each kind.

    async def run(self, replica: Replica) -> None:
        """Dispatch every event until cancelled. A reader that fell behind or failed begins anew."""
        while True:
            events = replica.watch()
            self._ring_all()  # Whatever was missed, they look for themselves.
            try:
                while batch := await events.batch(BATCH_EVENTS):
                    for event in batch:
                        self.dispatch(event)
            except QuorateError as error:
                _log.warning("the event reader begins anew: %s", error)
            except Exception as error:  # noqa: BLE001 - One listener's bug must not leave all waiting.
                _log.error("the event reader begins anew", exc_info=error)
            else:
                return
            finally:
                events.close()

    def dispatch(self, event: Event) -> None:
        """Let those hear *event* whom it may concern."""
        self.told[event.kind] += 1
        if event.task_id is not None:
            for listener in self._by_task.get(event.task_id, ()):
                listener.hear(event)
        if event.worker_id is not None:
            for listener in self._by_worker.get(event.worker_id, ()):
                listener.hear(event)

    def close(self) -> None:
        """Ring every bell, now and whenever one is hung up: the node is stopping."""
        self._is_closed = True
        self._ring_all()

    @contextmanager
    def task_ending(self, task_id: str) -> Iterator[Bell]:
        """A bell for the end of a task, its removal included. It hears what happens from now on."""
        bell = Bell(_is_ending)
        with self._told(self._by_task, task_id, bell):
            yield bell

    @contextmanager
    def worker_leasing(self, worker_id: str) -> Iterator[Bell]:
        """A bell for a task leased to the worker, and for the end of its session."""
        bell = Bell(_is_leasing)
        with self._told(self._by_worker, worker_id, bell):
            yield bell

    @contextmanager
    def telling(self, worker_id: str, listener: Listener) -> Iterator[None]:
        """Tell *listener* of all that happens to the worker meanwhile, and to its tasks by it."""
        with self._told(self._by_worker, worker_id, listener):
            yield

    @contextmanager
    def _told(
        self, listeners: dict[str, list[Listener]], key: str, listener: Listener
    ) -> Iterator[None]:
        listeners.setdefault(key, []).append(listener)
        if self._is_closed:
            listener.ring()
        try:
            yield
        finally:
            listeners[key].remove(listener)
            if not listeners[key]:
                del listeners[key]

    def _ring_all(self) -> None:
        for listeners in (*self._by_task.values(), *self._by_worker.values()):
            for listener in listeners:
                listener.ring()


def _is_ending(event: Event) -> bool:
    return event.status in _FINAL or event.kind == "removed"


def _is_leasing(event: Event) -> bool:
    return event.kind == "leased" or event.kind.startswith("worker_")
