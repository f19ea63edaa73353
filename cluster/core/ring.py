"""The newest events, kept so that a reader who was away goes on where it stopped.

Part of the state, and so the same on every node, whichever snapshot it began with. Bounded by count
and by bytes: what is older is dropped, and a reader that would miss it is told so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from operator import attrgetter, itemgetter

from cluster.core.model import Event, Position

EVENTS_MAX = 10_000
BYTES_MAX = 4 * 1024 * 1024
EVENT_BYTES = 300  # What one takes in memory, without its error.

START = Position(0, 0)  # Before every event: the log begins at index 1.

_position = itemgetter(0, 1)
_error = attrgetter("error")


class Ring:
    """Events in order, up to the newest that there was."""

    __slots__ = ("_events", "bytes_used", "dropped")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self.bytes_used = 0
        self.dropped = START  # The newest event that is not kept: no reader may be older.

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @property
    def newest(self) -> Position:
        """Where the newest event is, kept or not."""
        return self._events[-1].position if self._events else self.dropped

    def after(self, position: Position, limit: int) -> tuple[Event, ...]:
        """The first events after *position*, in order; those that were dropped are not missed."""
        start = bisect_right(self._events, position, key=_position)
        return tuple(islice(self._events, start, start + limit))

    def of_entry(self, index: int) -> Iterator[Event]:
        """What one entry of the log caused, as much of it as is kept, in order."""
        start = bisect_right(self._events, (index, -1), key=_position)
        events = islice(self._events, start, None)
        return takewhile(lambda event: event.index == index, events)

    def extend(self, events: Sequence[Event]) -> None:
        """Keep what an entry caused, and drop the oldest beyond the bounds."""
        self._events.extend(events)
        self.bytes_used += _bytes_of_all(events)
        excess = len(self._events) - EVENTS_MAX
        if excess > 0:
            self._drop(excess)
        while self.bytes_used > BYTES_MAX:
            self._drop(1)

    def _drop(self, count: int) -> None:
        popleft = self._events.popleft
        gone = [popleft() for _ in range(count)]
        self.bytes_used -= _bytes_of_all(gone)
        self.dropped = gone[-1].position


def _bytes_of_all(events: Sequence[Event]) -> int:
    errors = [error for error in map(_error, events) if error is not None]
    return EVENT_BYTES * len(events) + sum(map(_error_bytes, errors))


def bytes_of(event: Event) -> int:
    """What *event* is counted as."""
    error = event.error
    return EVENT_BYTES if error is None else EVENT_BYTES + _error_bytes(error)


def _error_bytes(error: str) -> int:
    return len(error) if error.isascii() else 4 * len(error)
