"""What can be asked of the machine: one frozen type a command, typed by its reply.

A command is data that travels through the log: field order is wire order, new fields are appended
with a default. `op` names it on the wire and in `/cluster/log`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Generic, NamedTuple, TypeVar

from cluster.core.model import (
    DEFAULT_NAMESPACE,
    UNKNOWN_CONTENT_TYPE,
    Lease,
    NewTask,
    TaskStatus,
)

R_co = TypeVar("R_co", covariant=True)


class Refusal(StrEnum):
    """Why the machine said no. A refusal is a value and changes nothing."""

    TASK_UNKNOWN = "task_unknown"
    WORKER_UNKNOWN = "worker_unknown"  # Never registered, or forgotten: register.
    WORKER_LOST = "worker_lost"  # Its session ended: register anew.
    LEASE_LOST = "lease_lost"  # A newer lease superseded the token, or it was taken back.
    ID_CONFLICT = "id_conflict"  # The same id with another body.
    NOT_CANCELLABLE = "not_cancellable"
    NOT_RETRYABLE = "not_retryable"
    NOT_REMOVABLE = "not_removable"
    QUEUES_FULL = "queues_full"  # Too many are paused.
    OPERATION_CONFLICT = "operation_conflict"  # The same id for something else.
    OPERATIONS_FULL = "operations_full"  # Too many are not finished.
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"  # The same key with another body.
    IDEMPOTENCY_FULL = "idempotency_full"  # Too many keys are remembered.
    TOO_LARGE = "too_large"  # A result, an error or a progress report.
    CLUSTER_FULL = "cluster_full"  # Tasks take all the memory that they may.


class Refused(NamedTuple):
    """The machine's no: which rule, and a sentence that says what, which and the limit."""

    refusal: Refusal
    detail: str


@dataclass(frozen=True, slots=True)
class Command(Generic[R_co]):
    """Something to do to the state; R_co is the reply of having done it."""

    op: ClassVar[str]


class SubmittedTask(NamedTuple):
    """One task's answer: its id and whether it stood there already."""

    task_id: str
    status: TaskStatus | None  # None: it is known by its idempotency key and was removed since.
    is_duplicate: bool


class Submitted(NamedTuple):
    """Every task of the command, in the order given."""

    tasks: tuple[SubmittedTask, ...]


@dataclass(frozen=True, slots=True)
class Submit(Command[Submitted | Refused]):
    """Take in the tasks, all or none. A known id or key with the same body is the same task."""

    op: ClassVar[str] = "submit"
    tasks: tuple[NewTask, ...]


class Registered(NamedTuple):
    """A worker's session exists until its deadline, which heartbeats move."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Register(Command[Registered | Refused]):
    """Begin a worker's session. Repeating it with the same id changes nothing.

    A lost worker's id is refused: its session ended, and a new one has a new id. Slots beyond
    `SLOTS_MAX` are cut off.
    """

    op: ClassVar[str] = "register"
    worker_id: str
    name: str
    queues: tuple[str, ...]
    types: tuple[str, ...]  # Empty: all.
    tags: tuple[str, ...]
    slots: int
    node: str
    namespace: str = DEFAULT_NAMESPACE


class Offered(NamedTuple):
    """The leases that still stand of those given under this offer's epoch."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class Offer(Command[Offered | Refused]):
    """State how many tasks the worker takes: absolute, so that a repeat adds nothing.

    A standing offer keeps the worker filled up to *slots*, the leases it holds included (a pushed
    session). One that is not standing asks for up to *slots* more tasks, once (a long poll), and is
    withdrawn by an offer of a later epoch with 0. An epoch below the newest changes nothing; equal
    to it, the leases already given under it are answered again. Neither kind fills the worker
    beyond the slots that it registered with.
    """

    op: ClassVar[str] = "offer"
    worker_id: str
    epoch: int
    slots: int
    is_standing: bool
    namespace: str = DEFAULT_NAMESPACE


class Renewed(NamedTuple):
    """What the worker must know: task ids to cancel, tokens it lost, and whether to drain."""

    cancel: tuple[str, ...]
    lost: tuple[int, ...]
    drain: bool


@dataclass(frozen=True, slots=True)
class Heartbeat(Command[Renewed | Refused]):
    """Keep the session; leases not named for a heartbeat's length go back as not delivered."""

    op: ClassVar[str] = "heartbeat"
    worker_id: str
    lease_tokens: tuple[int, ...]
    node: str
    namespace: str = DEFAULT_NAMESPACE


class Left(NamedTuple):
    """The worker is gone; the tasks it held went back."""

    task_ids: tuple[str, ...]


class Draining(NamedTuple):
    """The worker is given nothing more; these it still holds."""

    task_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drain(Command[Draining | Refused]):
    """Give a worker nothing more and let it finish what it holds. A repeat changes nothing."""

    op: ClassVar[str] = "drain"
    worker_id: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Leave(Command[Left | Refused]):
    """End a worker's session at once and hand its tasks back, as not delivered."""

    op: ClassVar[str] = "leave"
    worker_id: str
    namespace: str = DEFAULT_NAMESPACE


class Settled(NamedTuple):
    """The outcome was taken, now or by an earlier copy of the same command."""

    task_id: str
    status: TaskStatus
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Complete(Command[Settled | Refused]):
    """Accept a result, unless a newer lease has superseded the token."""

    op: ClassVar[str] = "complete"
    task_id: str
    lease_token: int
    result: bytes
    content_type: str = UNKNOWN_CONTENT_TYPE
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Fail(Command[Settled | Refused]):
    """Count a failed attempt: retry after the backoff, or give up as a dead letter."""

    op: ClassVar[str] = "fail"
    task_id: str
    lease_token: int
    error: str
    retry: bool = True
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Release(Command[Settled | Refused]):
    """Hand a task back unfinished, to its old place. It is no attempt and no failure."""

    op: ClassVar[str] = "release"
    task_id: str
    lease_token: int
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Report(Command[Settled | Refused]):
    """Record a running task's progress, replacing what was there."""

    op: ClassVar[str] = "report"
    task_id: str
    lease_token: int
    progress: bytes
    content_type: str = UNKNOWN_CONTENT_TYPE
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Cancel(Command[Settled | Refused]):
    """Cancel a waiting task at once, a running one through its worker."""

    op: ClassVar[str] = "cancel"
    task_id: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Retry(Command[Settled | Refused]):
    """Put a failed, cancelled or expired task back, its attempts reset."""

    op: ClassVar[str] = "retry"
    task_id: str
    namespace: str = DEFAULT_NAMESPACE


class Ticked(NamedTuple):
    """How much was due and done."""

    units: int


@dataclass(frozen=True, slots=True)
class Tick(Command[Ticked]):
    """Do what has become due by the entry's clocks; proposed at the machine's next deadline."""

    op: ClassVar[str] = "tick"


@dataclass(frozen=True, slots=True)
class BeginTerm(Command[Ticked]):
    """The first command of a term: give every session one whole lease of grace.

    The settings are the leader's, put in the log because every node must count by the same.
    """

    op: ClassVar[str] = "begin_term"
    node: str | None = None  # Who leads.
    lease_ms: int | None = None  # How long a session lives without a heartbeat; None: as before.
    heartbeat_ms: int | None = None  # How often a worker is to send one; None: as before.
    memory_bytes_max: int | None = None  # What the state may take on each node; None: as before.


class Noted(NamedTuple):
    """The cluster's own decision was taken; no news if it held already, or concerns nobody."""

    is_news: bool


@dataclass(frozen=True, slots=True)
class Suspend(Command[Noted]):
    """Give the workers of a node that the leader does not hear nothing new."""

    op: ClassVar[str] = "suspend_node"
    node: str


@dataclass(frozen=True, slots=True)
class Resume(Command[Noted]):
    """Serve the workers of a node that is heard again."""

    op: ClassVar[str] = "resume_node"
    node: str


@dataclass(frozen=True, slots=True)
class RaiseVersion(Command[Noted]):
    """Go over to the rules of a later machine version, which every member supports."""

    op: ClassVar[str] = "raise_version"
    version: int
