"""The records that the cluster replicates: tasks, workers, and the words they use.

Plain data: the modules beside this one change it, and nothing outside `cluster.core`
does. Times are integer milliseconds. *Cluster time* counts only while there is a leader; *wall
time* is the members' agreed calendar clock (the machine is given both, see `machine.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from cluster.core.queues import Queue
    from cluster.core.ready import MarketKey
    from cluster.core.state import Space

DEFAULT_NAMESPACE = "default"
DEFAULT_QUEUE = "default"
UNKNOWN_CONTENT_TYPE = "application/octet-stream"
PRIORITY_MAX = 9
PRIORITY_NORMAL = 4
SLOTS_MAX = 1_000  # Of one worker: all that concerns it fits into one apply.
PAYLOAD_BYTES_MAX = 1 << 20  # As much each for data, result, error and progress.
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

    __hash__ = str.__hash__  # An enumeration's own is a Python function, at each look-up.

    @property
    def is_final(self) -> bool:
        """Whether the task rests: only an explicit retry moves it again."""
        return self in FINAL


# Where it counts: to reach a member through its enumeration takes 0.15 µs (Python 3.11).
PENDING = TaskStatus.PENDING
PROCESSING = TaskStatus.PROCESSING
RETRYING = TaskStatus.RETRYING
SCHEDULED = TaskStatus.SCHEDULED
COMPLETED = TaskStatus.COMPLETED
FAILED = TaskStatus.FAILED
FINAL = frozenset({COMPLETED, FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED})

_NUMBER_BITS = 40  # Of a `due_key`: a million million tasks.


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


_PLAIN = Policy()


class Kind(NamedTuple):
    """What many tasks have in common. Equal kinds are shared in memory; each is decoded once."""

    type: str
    content_type: str  # Of the payload.
    queue: str = DEFAULT_QUEUE
    priority: int = PRIORITY_NORMAL
    policy: Policy = _PLAIN
    requires: tuple[str, ...] = ()  # Worker tags, sorted.
    namespace: str = DEFAULT_NAMESPACE

    @classmethod
    def of_plain(cls, values: Iterable[Any]) -> Kind:
        """The kind whose fields, and those of its policy, are *values*: what unpacking gives."""
        kind = cls(*values)
        max_attempts, backoff, *limits = cast("tuple[Any, ...]", kind.policy)
        return kind._replace(policy=Policy(max_attempts, Backoff(*backoff), *limits))


class Extras(NamedTuple):
    """What few tasks have. A task without any of it has None in their place."""

    meta: tuple[tuple[str, str], ...] = ()
    traceparent: str | None = None
    submitted_by: str | None = None


NO_EXTRAS = Extras()


class Idempotency(NamedTuple):
    """What makes a submission the same as an earlier one, though it has another id."""

    key: str
    body: bytes  # A digest made at the edge, where one body may be written in several ways.


class NewTask(NamedTuple):
    """A task as its submitter described it; everything is filled in and checked at the edge."""

    id: str  # A UUID, lower case: the submitter's own or one made at the edge.
    payload: bytes
    kind: Kind
    delay_ms: int = 0  # Relative to wall time at commit.
    run_at_ms: int | None = None  # Absolute wall time; wins over delay_ms.
    extras: Extras | None = None
    idempotency: Idempotency | None = None

    @classmethod
    def of(
        cls,
        id: str,  # noqa: A002 - the field's own name.
        type: str,  # noqa: A002 - the field's own name.
        payload: bytes,
        content_type: str,
        *,
        queue: str = DEFAULT_QUEUE,
        priority: int = PRIORITY_NORMAL,
        delay_ms: int = 0,
        run_at_ms: int | None = None,
        policy: Policy = _PLAIN,
        requires: tuple[str, ...] = (),
        meta: tuple[tuple[str, str], ...] = (),
        traceparent: str | None = None,
        submitted_by: str | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        idempotency: Idempotency | None = None,
    ) -> NewTask:
        """The task from all that may be said of one."""
        kind = Kind(type, content_type, queue, priority, policy, requires, namespace)
        given = Extras(meta, traceparent, submitted_by)
        extras = None if given == NO_EXTRAS else given
        return cls(id, payload, kind, delay_ms, run_at_ms, extras, idempotency)


@dataclass(slots=True, eq=False)
class Moment:
    """An entry of the log and its two clocks. All that one entry does happens at one moment."""

    index: int
    term: int
    cluster_ms: int
    wall_ms: int
    tasks: int = 0  # Those submitted in it that are still kept.

    @property
    def plain(self) -> tuple[int, int, int, int]:
        """Its values: equal moments have equal ones."""
        return self.index, self.term, self.cluster_ms, self.wall_ms


class SharedKind:
    """A kind as tasks have it: its words, and what they lead to, each found but once for all."""

    __slots__ = (
        "content_type",
        "home",
        "level",
        "market_key",
        "namespace",
        "plain",
        "policy",
        "priority",
        "queue",
        "requires",
        "space",
        "tasks",
        "type",
    )

    def __init__(self, plain: Kind, space: Space, home: Queue) -> None:
        self.plain = plain
        self.type = plain.type
        self.content_type = plain.content_type
        self.queue = plain.queue
        self.priority = plain.priority
        self.policy = plain.policy
        self.requires = plain.requires
        self.namespace = plain.namespace
        self.space = space  # The namespace's tables.
        self.home = home  # The queue that these tasks are in.
        self.level = home.level(plain.priority)  # Where they stand in it while they are pending.
        self.market_key: MarketKey = (plain.namespace, plain.queue, plain.requires)
        self.tasks = 0  # How many there are.

    def submitted(self, pending: int, scheduled: int) -> None:
        """Count tasks that came in, where their namespace and their queue are counted."""
        self.space.tally.submitted_ever += pending + scheduled
        self.home.size += pending + scheduled
        counts = self.space.tally.by_status
        counts[PENDING] += pending
        counts[SCHEDULED] += scheduled
        counts = self.home.by_status
        counts[PENDING] += pending
        counts[SCHEDULED] += scheduled

    def moved(self, before: TaskStatus, status: TaskStatus) -> None:
        """Count a task that went from one status to another, in both places."""
        counts = self.space.tally.by_status
        counts[before] -= 1
        counts[status] += 1
        counts = self.home.by_status
        counts[before] -= 1
        counts[status] += 1

    def __repr__(self) -> str:
        return repr(self.plain)


@dataclass(slots=True, eq=False)
class Run:
    """What a task has once it was leased or has ended: its runs so far, the newest in detail.

    Counts: `deliveries` is every hand-over, `attempts` those that ended in failure.
    """

    worker_id: str | None = None
    lease_token: int | None = None  # The newest one; kept after the task ends.
    accepted_token: int | None = None  # The token whose outcome was accepted, for repeats.
    late_token: int | None = None  # A lost worker's lease, good until the task is leased anew.
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    retry_at_ms: int | None = None
    leased_at_ms: int | None = None  # Cluster time of the newest lease.
    attempts: int = 0
    deliveries: int = 0
    killed: int = 0  # Deliveries in a row whose worker was lost.
    cancel_requested: bool = False
    progress: bytes | None = None
    progress_content_type: str | None = None
    result: bytes | None = None
    result_content_type: str | None = None
    error: str | None = None
    timeline: tuple[Any, ...] = (0,)  # What followed the submission, as `timelines` packs it.
    timeout: int | None = None  # When it has run too long, by cluster time: a `due_key`.


@dataclass(slots=True, eq=False)
class Task:
    """One task. It has few slots, because most of a million tasks only wait."""

    id: str
    payload: bytes
    kind: SharedKind
    extras: Extras | None
    status: TaskStatus
    created: Moment
    number: int  # Counts tasks in the order of their submission.
    turn: int = 0  # The least goes first of all that wait: see `ready.turn_of`.
    run_at_ms: int | None = None
    expires_at_ms: int | None = None  # Wall time from which it is dropped instead of waiting.
    run: Run | None = None
    timer: int | None = None  # Start, retry, expiry or removal, by wall time: a `due_key`.


def due_key(ms: int, number: int) -> int:
    """What orders by time, and tasks that are due together by their numbers."""
    return ms << _NUMBER_BITS | number


def due_ms(key: int) -> int:
    """The time in a `due_key`."""
    return key >> _NUMBER_BITS


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
    seat: tuple[int, int, int] | None = None  # Its place in its crew, while it has room.


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


ERROR_TOLD_MAX = 256  # Characters of an error that events tell; the task has all of it.


class Position(NamedTuple):
    """Where an event is: a reader that has seen all up to it goes on after it, on any node."""

    index: int  # type: ignore[assignment]  # Log index of its entry; hides tuple.index.
    offset: int  # Its place among that entry's events.


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

    @property
    def position(self) -> Position:
        """Where it is among all events."""
        return Position(self.index, self.offset)


EVENT_KINDS = (
    *("submitted", "ready", "leased", "released", "retrying", "progress", "cancel_requested"),
    *("completed", "failed", "cancelled", "expired", "removed"),
    *("queue_paused", "queue_resumed"),
    *("worker_joined", "worker_draining", "worker_left", "worker_lost", "leader_changed"),
    *("node_suspended", "node_resumed"),
)
