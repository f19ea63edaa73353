"""Readers of the event stream: each has a bounded buffer, and one that falls behind is told so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from cluster.core.model import Event
from cluster.errors import Overloaded

BUFFERED_EVENTS_MAX = 100_000


class Watch:
    """Events as they are applied on this node: an async iterator that must be closed."""

    def __init__(self, on_close: Callable[[Watch], object]) -> None:
        self._on_close = on_close
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._is_closed = False
        self._has_lagged = False

    def push(self, events: tuple[Event, ...]) -> None:
        """Add what one entry caused; beyond the bound the reader has lost its place."""
        if not events:
            return
        if len(self._events) + len(events) > BUFFERED_EVENTS_MAX:
            self._has_lagged = True
        else:
            self._events.extend(events)
        self._arrived.set()

    def skip(self) -> None:
        """Tell the reader that events went by unseen: the state came from a snapshot."""
        self._has_lagged = True
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
            Overloaded: the reader fell behind by more than the buffer holds.
        """
        while not self._events:
            if self._is_closed:
                raise StopAsyncIteration
            if self._has_lagged:
                raise Overloaded(f"the reader fell {BUFFERED_EVENTS_MAX} events behind")
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()


class Watches:
    """All that are open on this node."""

    def __init__(self) -> None:
        self._open: dict[Watch, None] = {}

    def open(self) -> Watch:
        """A reader of what is pushed from now on."""
        watch = Watch(lambda closed: self._open.pop(closed, None))
        self._open[watch] = None
        return watch

    def push(self, events: tuple[Event, ...]) -> None:
        """Hand every reader what one entry caused."""
        for watch in self._open:
            watch.push(events)

    def skip(self) -> None:
        """Tell every reader that events went by unseen."""
        for watch in self._open:
            watch.skip()

    def close(self) -> None:
        """End them all."""
        for watch in list(self._open):
            watch.close()
