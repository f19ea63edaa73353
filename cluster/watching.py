"""Readers of the event stream: from a position on, first what the state has kept, then live.

Each has a bounded buffer. One that falls behind it, or whose node went on from a snapshot, is
brought up from what the state has kept, or told that this no longer reaches back so far.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Self

from cluster.core.machine import Machine
from cluster.core.model import Event, Position
from cluster.core.queries import EventsAfter, EventsGone, Span
from cluster.errors import EventsLost

BUFFERED_EVENTS_MAX = 100_000


class From(Enum):
    """Where a reader that has no position begins."""

    NOW = "now"  # With the first event that this node applies after the call.
    OLDEST = "oldest"  # With the oldest that is kept.


class Watch:
    """Events in order, without a gap or a repeat: an async iterator that must be closed."""

    def __init__(
        self, machine: Machine, after: Position, on_close: Callable[[Watch], object]
    ) -> None:
        self.start = after  # What comes after it is told.
        self._machine = machine
        self._newest = after  # The newest event that was buffered; it may be ahead of this node.
        self._on_close = on_close
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._is_closed = False
        self._is_behind = False  # Later events went by that are not in the buffer.

    def push(self, events: tuple[Event, ...]) -> None:
        """Add what one entry caused, but for what was seen on another node."""
        if self._is_behind or not events or events[-1].position <= self._newest:
            return
        if events[0].position <= self._newest:
            events = tuple([event for event in events if event.position > self._newest])
        if len(self._events) + len(events) > BUFFERED_EVENTS_MAX:
            self._is_behind = True
        else:
            self._events.extend(events)
            self._newest = events[-1].position
        self._arrived.set()

    def catch_up(self) -> None:
        """Add what the state has kept of what is not in the buffer.

        Raises:
            EventsLost: it does not reach back so far.
        """
        self._is_behind = True
        page = self._machine.answer(EventsAfter(self._newest))
        if isinstance(page, EventsGone):
            raise EventsLost(
                f"events after {_told(self._newest)} are no longer kept, "
                f"only those after {_told(page.oldest)}",
                page.oldest,
            )
        self._is_behind = False
        self.push(page.events)

    def jumped(self) -> None:
        """Go on from a state that came from a snapshot."""
        with contextlib.suppress(EventsLost):  # The reader is told when it comes to the gap.
            self.catch_up()
        self._arrived.set()

    def close(self) -> None:
        """End the iteration, for whoever waits in it too."""
        self._is_closed = True
        self._arrived.set()
        self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            EventsLost: the reader fell behind by more than the buffer holds and the state keeps.
        """
        if not await self._is_some_left():
            raise StopAsyncIteration
        return self._events.popleft()

    async def batch(self, events_max: int) -> list[Event]:
        """The next events, as many as there are up to that many; none when it was closed.

        Raises:
            EventsLost: as `__anext__`.
        """
        await self._is_some_left()
        popleft = self._events.popleft
        return [popleft() for _ in range(min(events_max, len(self._events)))]

    async def _is_some_left(self) -> bool:
        """Wait for an event; False when there will be none."""
        while not self._events:
            if self._is_closed:
                return False
            if self._is_behind:
                self.catch_up()
                continue
            self._arrived.clear()
            await self._arrived.wait()
        return True


class Watches:
    """All that are open on this node."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._open: dict[Watch, None] = {}

    def open(self, after: Position | From) -> Watch:
        """A reader of what comes after that position.

        Raises:
            EventsLost: what comes next after it is no longer kept.
        """
        span = self._machine.answer(Span())
        if after is From.NOW:
            after = span.newest
        elif after is From.OLDEST:
            after = span.oldest
        watch = Watch(self._machine, after, lambda closed: self._open.pop(closed, None))
        watch.catch_up()
        self._open[watch] = None
        return watch

    def push(self, events: tuple[Event, ...]) -> None:
        """Hand every reader what one entry caused."""
        for watch in self._open:
            watch.push(events)

    def jumped(self) -> None:
        """Bring every reader up to a state that came from a snapshot."""
        for watch in self._open:
            watch.jumped()

    def close(self) -> None:
        """End them all."""
        for watch in list(self._open):
            watch.close()


def _told(position: Position) -> str:
    return f"{position.index}.{position.offset}"
