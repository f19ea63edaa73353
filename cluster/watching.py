"""Readers of the event stream: from a position on, first what is kept of it, then live.

This node keeps the newest events that it applied, for all of its readers together, and the state
keeps some, the same on every node. A reader that is older than both is told so.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from enum import Enum
from itertools import dropwhile
from typing import Self

from cluster.core.machine import Machine
from cluster.core.model import Event, Position
from cluster.core.queries import EventsAfter, EventsGone, Span
from cluster.errors import EventsLost

# Some seconds of a busy cluster, some 30 MB: a reader whose node died comes again within them.
KEPT_EVENTS_MAX = 100_000


class From(Enum):
    """Where a reader that has no position begins."""

    NOW = "now"  # With the first event that this node applies after the call.
    OLDEST = "oldest"  # With the oldest that the state keeps.


class History:
    """The newest events of this node, as its entries caused them; entries are counted."""

    def __init__(self, newest: Position) -> None:
        self._entries: deque[tuple[Event, ...]] = deque()
        self._events = 0
        self._dropped = newest  # The newest event that is not here.
        self.first = 0  # The number of the oldest entry.

    @property
    def end(self) -> int:
        """The number of the next entry."""
        return self.first + len(self._entries)

    @property
    def newest(self) -> Position:
        """Where the newest event is, kept or not."""
        return _end_of(self._entries[-1]) if self._entries else self._dropped

    def __getitem__(self, number: int) -> tuple[Event, ...]:
        return self._entries[number - self.first]

    def add(self, events: tuple[Event, ...]) -> None:
        """Keep what one entry caused, and drop the oldest beyond the bound."""
        self._entries.append(events)
        self._events += len(events)
        while self._events > KEPT_EVENTS_MAX:
            gone = self._entries.popleft()
            self.first += 1
            self._events -= len(gone)
            self._dropped = gone[-1].position

    def restart(self, newest: Position) -> None:
        """Begin anew after *newest*: what came before it is not known here."""
        self.first = self.end + 1  # Beyond where any reader is.
        self._entries.clear()
        self._events = 0
        self._dropped = newest

    def find(self, position: Position) -> int | None:
        """The number of the entry that goes on after *position*; None if some are not here."""
        if position < self._dropped:
            return None
        return self.first + bisect_right(self._entries, position, key=_end_of)


class Watch:
    """Events in order, without a gap or a repeat: an async iterator that must be closed."""

    def __init__(
        self,
        machine: Machine,
        history: History,
        after: Position,
        on_close: Callable[[Watch], object],
    ) -> None:
        self.start = after  # What comes after it is told; it may be ahead of this node.
        self._machine = machine
        self._history = history
        self._on_close = on_close
        self._reached = after  # All up to here was told, or is in `_events`.
        self._events: deque[Event] = deque()  # What is left of an entry, or of what was caught up.
        self._next = history.first - 1  # The entry that follows them; this one is not there.
        self._arrived = asyncio.Event()
        self._is_closed = False
        found = history.find(after)
        if found is None:
            self._catch_up()
        else:
            self._next = found

    def wake(self) -> None:
        """Look for more: something happened, or the state is another."""
        self._arrived.set()

    def close(self) -> None:
        """End the iteration, for whoever waits in it too; what happened until now is told."""
        self._is_closed = True
        self._arrived.set()
        self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            EventsLost: the reader fell behind by more than this node and the state keep.
        """
        if not await self._is_some_left():
            raise StopAsyncIteration
        return self._events.popleft()

    async def batch(self, events_max: int) -> list[Event]:
        """The next events, as many as there are up to that many; none when it was closed.

        Raises:
            EventsLost: as `__anext__`.
        """
        events: list[Event] = []
        if not await self._is_some_left():
            return events
        while len(events) < events_max and (self._events or self._take_entry()):
            events.append(self._events.popleft())
        return events

    async def _is_some_left(self) -> bool:
        """Wait for an event; False when there will be none."""
        while not self._events and not self._take_entry():
            if self._is_closed:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        return True

    def _take_entry(self) -> bool:
        """Have the next entry's events ready; False when there is none yet.

        Raises:
            EventsLost: it is no longer kept.
        """
        while not self._events and self._next != self._history.end:
            if self._next < self._history.first:
                self._catch_up()
                continue
            events = self._history[self._next]
            self._next += 1
            self._extend(events)
        return bool(self._events)

    def _catch_up(self) -> None:
        page = self._machine.answer(EventsAfter(self._reached))
        if isinstance(page, EventsGone):
            raise EventsLost(
                f"events after {_told(self._reached)} are no longer kept, "
                f"only those after {_told(page.oldest)}",
                page.oldest,
            )
        self._next = self._history.end
        self._extend(page.events)

    def _extend(self, events: tuple[Event, ...]) -> None:
        """Have *events* told, but for those that were: here, or on another node."""
        if not events or events[-1].position <= self._reached:
            return
        if events[0].position <= self._reached:
            self._events.extend(dropwhile(lambda event: event.position <= self._reached, events))
        else:
            self._events.extend(events)
        self._reached = events[-1].position


class Watches:
    """All that are open on this node."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._history = History(machine.answer(Span()).newest)
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
        watch = Watch(
            self._machine, self._history, after, lambda closed: self._open.pop(closed, None)
        )
        self._open[watch] = None
        return watch

    def push(self, events: tuple[Event, ...]) -> None:
        """Keep what one entry caused, and let every reader look."""
        if not events:
            return
        self._history.add(events)
        newest = events[-1].position
        for watch in self._open:
            if newest > watch.start:  # A reader may be ahead of this node.
                watch.wake()

    def jumped(self) -> None:
        """Go on from a state that came from a snapshot, which may hold what was passed over."""
        page = self._machine.answer(EventsAfter(self._history.newest))
        if isinstance(page, EventsGone):
            self._history.restart(self._machine.answer(Span()).newest)
        elif page.events:
            self._history.add(page.events)
        for watch in self._open:
            watch.wake()

    def close(self) -> None:
        """End them all."""
        for watch in list(self._open):
            watch.close()


def _end_of(events: tuple[Event, ...]) -> Position:
    return events[-1].position


def _told(position: Position) -> str:
    return f"{position.index}.{position.offset}"
