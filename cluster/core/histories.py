"""Answers about what happened: the newest events of all, and what befell one task."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from cluster.core import timelines
from cluster.core.model import Event, Position, Task, TaskStatus
from cluster.core.queries import (
    Events,
    EventsAfter,
    EventsGone,
    EventSpan,
    Span,
    TaskTimeline,
    Timeline,
)
from cluster.core.state import State
from cluster.core.timelines import Entry

_index_of = attrgetter("index")


def timeline(state: State, query: Timeline) -> TaskTimeline | None:
    """What happened to one task."""
    task = state.task(query.namespace, query.task_id)
    if task is None:
        return None
    later = timelines.EMPTY if task.run is None else task.run.timeline
    entries = (_submission(task), *timelines.entries(later))
    return TaskTimeline(entries, timelines.dropped(later), _positions(state, task.id, entries))


def span(state: State, _query: Span) -> EventSpan:
    """From where to where events are kept."""
    return EventSpan(state.ring.dropped, state.ring.newest)


def events_after(state: State, query: EventsAfter) -> Events | EventsGone:
    """What followed a position, unless some of it is no longer kept."""
    if query.position < state.ring.dropped:
        return EventsGone(state.ring.dropped)
    return Events(state.ring.after(query.position, query.limit))


def _positions(
    state: State, task_id: str, entries: tuple[Entry, ...]
) -> tuple[Position | None, ...]:
    """Where each entry is among the events: the same transitions, of which these are kept."""
    found: list[Position | None] = []
    for entry_index, group in groupby(reversed(entries), key=_index_of):
        # From the newest back: the oldest of an entry's events are the first not to be kept.
        events = reversed([*state.ring.of_entry(entry_index)])
        own = (event for event in events if event.task_id == task_id)
        found += [_position(own, entry.kind) for entry in group]
    return tuple(reversed(found))


def _position(events: Iterator[Event], kind: str) -> Position | None:
    """Where the next of *events* is that is of that kind."""
    return next((event.position for event in events if event.kind == kind), None)


def _submission(task: Task) -> Entry:
    """The first entry, from what the task still knows of it."""
    created = task.created
    is_early = task.run_at_ms is not None and task.run_at_ms > created.wall_ms
    status = TaskStatus.SCHEDULED if is_early else TaskStatus.PENDING
    return Entry(created.index, created.term, created.cluster_ms, "submitted", status)
