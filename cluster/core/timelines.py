"""A task's timeline: its transitions, in one flat tuple so that a finished task pays little.

It begins with the task's submission, which is not in the tuple: it follows from the task, so that
one that waits pays nothing. Of the later ones the newest are kept, and how many went is counted:
`(went, *entry, *entry, …)`, or nothing at all before the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from cluster.core.model import EVENT_KINDS, Event, TaskStatus

ENTRIES_MAX = 64  # The submission among them.

Packed = tuple[Any, ...]

# Index, term, cluster time, code of the kind, worker, token, attempt, error.
_FIELDS = 8
_WORKER = 4
_LENGTH_MAX = 1 + (ENTRIES_MAX - 1) * _FIELDS
_STATUS_AFTER: Mapping[str, TaskStatus] = MappingProxyType(
    {
        "ready": TaskStatus.PENDING,
        "leased": TaskStatus.PROCESSING,
        "released": TaskStatus.PENDING,
        "retrying": TaskStatus.RETRYING,
        "cancel_requested": TaskStatus.PROCESSING,
        "completed": TaskStatus.COMPLETED,
        "failed": TaskStatus.FAILED,
        "cancelled": TaskStatus.CANCELLED,
        "expired": TaskStatus.EXPIRED,
    }
)
# Progress moves no task, what is removed has no timeline any more, and the rest is above.
_code_of = {kind: code for code, kind in enumerate(EVENT_KINDS) if kind in _STATUS_AFTER}.get


class Entry(NamedTuple):
    """One transition of a task."""

    index: int  # type: ignore[assignment]  # Log index of its entry; hides tuple.index.
    term: int
    time_ms: int  # Cluster time.
    kind: str
    status: TaskStatus  # After it.
    worker_id: str | None = None
    lease_token: int | None = None
    attempt: int | None = None
    error: str | None = None  # As much of it as events tell.


def extended(timeline: Packed, event: Event) -> Packed:
    """*timeline* with a task's *event* at its end, without its oldest when it was full."""
    index, _, term, time_ms, kind, _, _, _, worker_id, token, attempt, error, _ = event
    code = _code_of(kind)
    if code is None:
        return timeline
    if not timeline:
        return 0, index, term, time_ms, code, worker_id, token, attempt, error
    if len(timeline) < _LENGTH_MAX:
        return *timeline, index, term, time_ms, code, worker_id, token, attempt, error
    went, kept = timeline[0] + 1, timeline[1 + _FIELDS :]
    return went, *kept, index, term, time_ms, code, worker_id, token, attempt, error


def loaded(timeline: Packed, one: Callable[[Any], Any]) -> Packed:
    """A timeline as it was dumped, its workers' ids shared with the rest of the state by *one*.

    Raises:
        ValueError: it is none.
    """
    if len(timeline) % _FIELDS != (1 if timeline else 0):
        raise ValueError(f"a timeline has {len(timeline)} values")
    values = list(timeline)
    values[_WORKER + 1 :: _FIELDS] = map(one, values[_WORKER + 1 :: _FIELDS])
    return tuple(values)


def entries(timeline: Packed) -> Iterator[Entry]:
    """What is kept, the oldest first."""
    for at in range(1, len(timeline), _FIELDS):
        index, term, time_ms, code, *run = timeline[at : at + _FIELDS]
        kind = EVENT_KINDS[code]
        yield Entry(index, term, time_ms, kind, _STATUS_AFTER[kind], *run)


def dropped(timeline: Packed) -> int:
    """How many entries went, between the submission and the oldest that is kept."""
    return int(timeline[0]) if timeline else 0


def count(timeline: Packed) -> int:
    """How many entries are kept."""
    return len(timeline) // _FIELDS


def errors(timeline: Packed) -> list[str]:
    """The errors that the entries tell."""
    return [error for error in timeline[_FIELDS::_FIELDS] if error is not None]
