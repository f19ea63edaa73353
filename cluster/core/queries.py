"""What can be asked about the state without changing it: frozen types, typed by their answer.

Answers are frozen copies: nothing handed out changes afterwards. A list examines a bounded number
of records a call and hands back a cursor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from cluster.core import ring
from cluster.core.model import (
    DEFAULT_NAMESPACE,
    Event,
    Lease,
    Policy,
    Position,
    TaskStatus,
    WorkerStatus,
)
from cluster.core.timelines import Entry

A_co = TypeVar("A_co", covariant=True)

EXAMINED_MAX = 5_000  # Records that one call may look at, whatever it filters.


@dataclass(frozen=True, slots=True)
class Query(Generic[A_co]):
    """Something to know; A_co is what is answered."""


class TaskView(NamedTuple):
    """A task as it was at the answer's index. Times are wall-clock milliseconds."""

    id: str
    type: str
    payload: bytes
    content_type: str
    queue: str
    priority: int
    policy: Policy
    requires: tuple[str, ...]
    meta: tuple[tuple[str, str], ...]
    traceparent: str | None
    submitted_by: str | None
    status: TaskStatus
    created_at_ms: int
    run_at_ms: int | None
    started_at_ms: int | None
    finished_at_ms: int | None
    retry_at_ms: int | None
    attempts: int
    deliveries: int
    worker_id: str | None
    lease_token: int | None
    progress: bytes | None
    progress_content_type: str | None
    result: bytes | None
    result_content_type: str | None
    error: str | None
    cancel_requested: bool
    waiting_for: str | None  # "worker" when pending and no connected worker serves it.


class WorkerView(NamedTuple):
    """A worker's session as it was at the answer's index."""

    id: str
    name: str
    status: WorkerStatus
    queues: tuple[str, ...]
    tags: tuple[str, ...]
    types: tuple[str, ...]
    slots: int
    current_tasks: tuple[str, ...]
    tasks_processed: int
    started_at_ms: int
    last_heartbeat_ms: int
    node: str
    epoch: int  # Of the newest offer that was taken.


class TaskPage(NamedTuple):
    """Tasks, newest first, and where the next page begins."""

    tasks: tuple[TaskView, ...]
    next: int | None


class WorkerPage(NamedTuple):
    """Workers, oldest first, and where the next page begins."""

    workers: tuple[WorkerView, ...]
    next: int | None


class Progress(NamedTuple):
    """What was last reported of a task that runs, by this run or by an earlier one."""

    lease_token: int
    progress: bytes
    content_type: str


class Counts(NamedTuple):
    """How much there is: by status, and how many were ever completed and submitted."""

    by_status: tuple[tuple[TaskStatus, int], ...]  # Every status, in the enumeration's order.
    completed_ever: int
    workers_active: int
    submitted_ever: int


class TaskTimeline(NamedTuple):
    """A task's transitions: its submission, and the newest of those that followed it."""

    entries: tuple[Entry, ...]
    dropped: int  # How many went between the first entry and the second.
    positions: tuple[Position | None, ...]  # Of each as an event; None when that is not kept.


class EventSpan(NamedTuple):
    """Which events are kept. A reader that stopped at `oldest` or later misses nothing."""

    oldest: Position  # Of the newest event that is no longer kept.
    newest: Position


class Events(NamedTuple):
    """Events in order, all there were after the position that was asked for, up to the limit."""

    events: tuple[Event, ...]


class EventsGone(NamedTuple):
    """Some of the events that were asked for are no longer kept."""

    oldest: Position  # Those after it are.


@dataclass(frozen=True, slots=True)
class GetTask(Query[TaskView | None]):
    """One task, or None."""

    task_id: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class ListTasks(Query[TaskPage]):
    """Tasks that match every filter given, newest first."""

    status: TaskStatus | None = None
    queue: str | None = None
    type: str | None = None
    worker_id: str | None = None
    limit: int = 50
    cursor: int | None = None  # What the page before handed back.
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class GetWorker(Query[WorkerView | None]):
    """One worker, or None."""

    worker_id: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class ListWorkers(Query[WorkerPage]):
    """Sessions, the lost ones that are still remembered included, oldest first."""

    limit: int = 1_000
    cursor: int | None = None  # What the page before handed back.
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class WorkerLeases(Query[tuple[Lease, ...]]):
    """The leases of a worker that still stand, in the order they were given."""

    worker_id: str
    above: int = 0  # Only those with higher tokens: the older ones cost nothing then.
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class WorkerProgress(Query[tuple[Progress, ...]]):
    """How far the tasks of a worker are, those of which anything was reported."""

    worker_id: str
    above: int = 0  # Only of leases with higher tokens.
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Count(Query[Counts]):
    """The totals, kept as the state changes: never a scan."""

    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Timeline(Query[TaskTimeline | None]):
    """What happened to a task, or None."""

    task_id: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Span(Query[EventSpan]):
    """Which events are kept."""


@dataclass(frozen=True, slots=True)
class EventsAfter(Query[Events | EventsGone]):
    """The first events after a position. One that lies ahead of this node has none after it."""

    position: Position
    limit: int = ring.EVENTS_MAX
