"""A task's timeline: its transitions, in one flat tuple so that a finished task pays little.

It begins with the task's submission, which is not in the tuple: it follows from the task, so that
one that waits pays nothing. Of the later ones the newest are kept, and how many went is counted:
`(went, *entry, *entry, …)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from cluster.core.model import TaskStatus

ENTRIES_MAX = 64  # The submission among them.

Packed = tuple[Any, ...]
PackedEntry = tuple[int, int, int, str, str | None, int | None, int | None, str | None]

EMPTY: Packed = (0,)
# Progress moves no task, and what is removed has no timeline any more.
LEAVE_NO_ENTRY = ("progress", "removed")

# Index, term, cluster time, kind, worker, token, attempt, error.
_FIELDS = 8
_KIND = 3
_WORKER = 4
ERRORS = slice(_FIELDS, None, _FIELDS)  # Where the entries' errors are, None where there is none.
LENGTH_MAX = len(EMPTY) + (ENTRIES_MAX - 1) * _FIELDS
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


def extended(timeline: Packed, entry: PackedEntry) -> Packed:
    """*timeline* with *entry* at its end, without its oldest when it was full."""
    if len(timeline) < LENGTH_MAX:
        return timeline + entry
    return (timeline[0] + 1, *timeline[1 + _FIELDS :], *entry)


def loaded(timeline: Packed, one: Callable[[Any], Any]) -> Packed:
    """A timeline as it was dumped, its words shared with the rest of the state by *one*.

    Raises:
        ValueError: it is none.
    """
    if len(timeline) % _FIELDS != 1:
        raise ValueError(f"a timeline has {len(timeline)} values")
    values = list(timeline)
    for words in (slice(1 + _KIND, None, _FIELDS), slice(1 + _WORKER, None, _FIELDS)):
        values[words] = map(one, values[words])
    return tuple(values)


def entries(timeline: Packed) -> Iterator[Entry]:
    """What is kept, the oldest first."""
    for at in range(1, len(timeline), _FIELDS):
        index, term, time_ms, kind, *run = timeline[at : at + _FIELDS]
        yield Entry(index, term, time_ms, kind, _STATUS_AFTER[kind], *run)


def dropped(timeline: Packed) -> int:
    """How many entries went, between the submission and the oldest that is kept."""
    return int(timeline[0])
