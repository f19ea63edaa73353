"""Letting go of a state that another has replaced: a piece at a time, for it may be large.

What refers to each other in circles is taken apart here, because a node's collector never looks at
what is old. It may not be used for a state that still serves.
"""

from __future__ import annotations

from collections.abc import Iterator

from cluster.core.dead_letters import DeadLetters
from cluster.core.listing import Listing
from cluster.core.ordered import Ordered
from cluster.core.state import Space, State
from cluster.core.table import Table

_STATE_PARTS = (
    *("events", "ring", "keys", "operations", "sessions", "lost", "timeouts", "timers"),
    *("ready", "crews", "kinds", "spaces", "now"),
)
# The listing last: it has the tasks in the order in which they took their memory, so that this is
# given back bit by bit, and not all of it with the last few tasks.
_SPACE_PARTS = ("dead", "queues", "rested", "roster", "tally", "tasks", "workers", "listing")


def let_go(state: State) -> Iterator[None]:
    """Take *state* to pieces; each step takes a few milliseconds at most."""
    spaces = list(state.spaces.values())
    yield from _untie(state)
    yield from _drop(state, _STATE_PARTS)
    for space in spaces:
        yield from _drop(space, _SPACE_PARTS)


def _untie(state: State) -> Iterator[None]:
    """Break the circles: lanes and crews know their markets, kinds where their tasks stand."""
    for market in state.ready.markets.values():
        for lane in market.lanes.values():
            yield from lane.tasks.drain()
        market.lanes.clear()
        market.crews.clear()
    for kind in state.kinds.shared.values():
        yield from kind.level.drain()


def _drop(record: State | Space, names: tuple[str, ...]) -> Iterator[None]:
    """Let go of each part: of one that knows every task, piece by piece."""
    for name in names:
        part = getattr(record, name)
        delattr(record, name)
        if isinstance(part, (DeadLetters, Listing, Ordered, Table)):
            yield from part.drain()
        del part
        yield
