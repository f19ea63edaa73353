"""The records that the cluster replicates: tasks, workers, and the words they use.

Plain data, no behaviour: the modules beside this one change it, and nothing outside `cluster.core`
does. Times are integer milliseconds. *Cluster time* counts only while there is a leader; *wall
time* is the members' agreed calendar clock (the machine is given both, see `machine.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

DEFAULT_NAMESPACE = "default"
DEFAULT_QUEUE = "default"
PRIORITY_MAX = 9
PRIORITY_NORMAL = 4
SLOTS_MAX = 1_000  # Of one worker: all that concerns it fits into one apply.
DELIVERIES_KILLED_MAX = (
    3  # Runs in a row that took their worker with them: then the task is at fault.
)


class TaskStatus(StrEnum):
    """Where a task is. `failed` means that it will not be tried again: it is a dead letter."""

    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    PENDING = "pending"
    PROCESSING = "processing"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the task rests: only an explicit retry moves it again."""
        return self in _FINAL


_FINAL = frozenset(
    {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED}
)


class WorkerStatus(StrEnum):
    """Where a worker is. A `lost` one is kept in sight for a while and must register anew."""

    ACTIVE = "active"
    DRAINING = "draining"
    LOST = "lost"


class Backoff(NamedTuple):
    """How long a failed task waits: initial * multiplier ** (failures - 1) up to max, ± jitter."""

    initial_ms: int = 5_000
    multiplier_thousandths: int = 2_000
    max_ms: int = 3_600_000
    jitter_thousandths: int = 100


class Policy(NamedTuple):
    """What a submitter may settle about a task's life. Equal policies are shared in memory."""

    max_attempts: int = 4
    backoff: Backoff = Backoff()
    timeout_ms: int | None = None  # How long one run may take.
    ttl_ms: int | None = None  # How long it may wait before it is dropped as expired.
    retention_ms: int = 86_400_000  # How long it is kept once finished.


class NewTask(NamedTuple):
    """A task as its submitter described it; everything is filled in and checked at the edge."""

    id: str  # A UUID, lower case: the submitter's own or one made at the edge.
    type: str
    payload: bytes
    content_type: str
    queue: str = DEFAULT_QUEUE
    priority: int = PRIORITY_NORMAL
    delay_ms: int = 0  # Relative to wall time at commit.
    run_at_ms: int | None = None  # Absolute wall time; wins over delay_ms.
    policy: Policy = Policy()
    requires: tuple[str, ...] = ()  # Worker tags, sorted.
    meta: tuple[tuple[str, str], ...] = ()
    traceparent: str | None = None
    submitted_by: str | None = None
    namespace: str = DEFAULT_NAMESPACE


@dataclass(slots=True, eq=False)
class Task:
    """One task. Counts: `deliveries` is every hand-over, `attempts` those that ended in failure."""

    id: str
    type: str
    payload: bytes
    content_type: str
    namespace: str
    queue: str
    priority: int
    policy: Policy
    requires: tuple[str, ...]
    meta: tuple[tuple[str, str], ...]
    traceparent: str | None
    submitted_by: str | None
    status: TaskStatus
    created_at_ms: int
    place: int  # Its turn within queue and priority: the position at which it last became pending.
    run_at_ms: int | None = None
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    retry_at_ms: int | None = None
    attempts: int = 0
    deliveries: int = 0
    killed: int = 0  # Deliveries in a row whose worker was lost.
    worker_id: str | None = None
    lease_token: int | None = None  # The newest one; kept after the task ends.
    accepted_token: int | None = None  # The token whose outcome was accepted, for repeats.
    result: bytes | None = None
    error: str | None = None
    progress: bytes | None = None
    cancel_requested: bool = False
    number: int = 0  # Counts tasks in the order of their submission.
    expires_at_ms: int | None = None  # Wall time from which it is dropped instead of waiting.
    leased_at_ms: int | None = None  # Cluster time of the newest lease.
    late_token: int | None = None  # A lost worker's lease, good until the task is leased anew.
    due_ms: int | None = None  # Wall time of its one timer: start, retry, expiry or removal.


@dataclass(slots=True, eq=False)
class Worker:
    """A worker's session. One deadline hangs on the session, not on each lease."""

    id: str
    name: str
    namespace: str
    queues: tuple[str, ...]
    types: tuple[str, ...]  # Empty: every type.
    tags: tuple[str, ...]
    slots: int
    node: str  # The node that holds its connection, or that last heard of it.
    status: WorkerStatus
    started_at_ms: int  # Wall time.
    last_heartbeat_ms: int  # Wall time.
    deadline_ms: int  # Cluster time at which the session is lost or, once lost, forgotten.
    leases: dict[int, str]  # Lease token -> task id, in the order they were given.
    epoch: int = 0  # Of the newest offer; an older offer changes nothing.
    room: int = 0  # How many more tasks the newest offer still allows.
    is_standing: bool = False  # Whether a finished task makes room again by itself.
    tasks_processed: int = 0
    number: int = 0  # Counts workers in the order of their registration.
    asked: int = 0  # The slots that the newest offer stated.
    epoch_token: int = 0  # The newest token when that offer came: its leases have higher ones.
    newest_token: int = 0  # Of the leases it was given: who was served longest ago goes first.


class Lease(NamedTuple):
    """A task in a worker's hands, with all that the worker needs to run it."""

    task_id: str
    token: int
    type: str
    queue: str
    payload: bytes
    content_type: str
    attempt: int
    timeout_ms: int | None
    meta: tuple[tuple[str, str], ...]
    traceparent: str | None
    priority: int
    cancel_requested: bool


class Event(NamedTuple):
    """One transition, at a place in the log: the same on every node."""

    index: int  # type: ignore[assignment]  # Log index of its entry; hides tuple.index.
    offset: int  # Its place among that entry's events.
    term: int
    time_ms: int  # Cluster time.
    kind: str  # One of EVENT_KINDS.
    task_id: str | None = None
    queue: str | None = None
    status: str | None = None
    worker_id: str | None = None
    lease_token: int | None = None
    attempt: int | None = None
    error: str | None = None
    node: str | None = None  # Where the worker is connected, or who leads.


EVENT_KINDS = (
    *("submitted", "ready", "leased", "released", "retrying", "progress", "cancel_requested"),
    *("completed", "failed", "cancelled", "expired", "removed"),
    *("worker_joined", "worker_draining", "worker_left", "worker_lost", "leader_changed"),
)
