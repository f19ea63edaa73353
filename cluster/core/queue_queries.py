"""What can be asked about queues, dead letters and operations: more of `queries.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cluster.core.model import DEFAULT_NAMESPACE, TaskStatus
from cluster.core.operations import OperationKind
from cluster.core.queries import Query, TaskView


class QueueView(NamedTuple):
    """A queue as it was at the answer's index."""

    name: str
    is_paused: bool
    by_status: tuple[tuple[TaskStatus, int], ...]  # Every status, in the enumeration's order.
    pending_since_ms: int | None  # Cluster time at which its oldest pending task became so.


class QueuePage(NamedTuple):
    """Queues in the order of their names, and where the next page begins."""

    queues: tuple[QueueView, ...]
    next: str | None


class DeadPage(NamedTuple):
    """Dead letters, those that died first before the others, and where the next page begins."""

    tasks: tuple[TaskView, ...]
    total: int  # How many match, on whatever page.
    next: int | None


class OperationView(NamedTuple):
    """How far an operation is. It may do less than its total: tasks move meanwhile."""

    id: str
    kind: OperationKind
    queue: str | None
    type: str | None
    done: int
    total: int
    is_finished: bool


@dataclass(frozen=True, slots=True)
class GetQueue(Query[QueueView | None]):
    """One queue; None when it has no tasks and is not paused."""

    queue: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class ListQueues(Query[QueuePage]):
    """The queues that have tasks or are paused."""

    limit: int = 50
    cursor: str | None = None  # What the page before handed back.
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class ListDead(Query[DeadPage]):
    """The dead letters that match every filter given."""

    queue: str | None = None
    type: str | None = None
    limit: int = 50
    cursor: int | None = None  # What the page before handed back.
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class GetOperation(Query[OperationView | None]):
    """One operation; None when it was never asked for, or finished long ago."""

    operation_id: str
    namespace: str = DEFAULT_NAMESPACE
