"""Answers about what happened: the newest events of all, and what befell one task."""

from __future__ import annotations

from cluster.core.queries import Events, EventsAfter, EventsGone, EventSpan, Span
from cluster.core.state import State


def span(state: State, _query: Span) -> EventSpan:
    """From where to where events are kept."""
    return EventSpan(state.ring.dropped, state.ring.newest)


def events_after(state: State, query: EventsAfter) -> Events | EventsGone:
    """What followed a position, unless some of it is no longer kept."""
    if query.position < state.ring.dropped:
        return EventsGone(state.ring.dropped)
    return Events(state.ring.after(query.position, query.limit))
