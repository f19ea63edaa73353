"""What the reference of the machine knows: records in plain lists, and what can be said of them.

Nothing here moves a task: `reference_rules.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.core.commands import Refusal
from cluster.core.model import Extras, Lease, NewTask

WAITING = ("scheduled", "pending", "retrying")
ENDED = ("completed", "failed", "cancelled", "expired")
AGEING_MS = 300_000
MOMENTS = 1_000_000  # In a millisecond: so that no two tasks ever come at once.


@dataclass(eq=False)
class KnownTask:
    new: NewTask
    status: str
    number: int
    created_ms: int
    run_at_ms: int | None
    expires_ms: int | None
    came: int = 0  # When it became pending, or ended.
    attempts: int = 0
    deliveries: int = 0
    killed: int = 0
    worker_id: str | None = None
    token: int | None = None
    accepted: int | None = None
    late: int | None = None
    leased_ms: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    retry_ms: int | None = None
    is_to_cancel: bool = False
    progress: tuple[bytes | None, str | None] = (None, None)
    result: tuple[bytes | None, str | None] = (None, None)
    error: str | None = None
    story: list[str] = field(default_factory=list)  # The kinds of its events.

    @property
    def turn(self) -> tuple[int, int]:
        """A priority is worth five minutes of waiting."""
        priority = self.new.kind.priority
        return self.came - priority * AGEING_MS * MOMENTS, -priority


@dataclass(eq=False)
class KnownWorker:
    id: str
    queues: tuple[str, ...]
    types: tuple[str, ...]
    tags: tuple[str, ...]
    slots: int
    node: str
    number: int
    status: str = "active"
    deadline_ms: int = 0
    heard: int = 0  # Which heartbeat was heard last, of all workers'.
    epoch: int = -1
    epoch_token: int = 0
    asked: int = 0
    is_standing: bool = False
    wanted: int = 0  # How many more a passing offer is good for.
    held: dict[int, KnownTask] = field(default_factory=dict)
    newest_token: int = 0
    processed: int = 0

    def room(self) -> int:
        if self.status != "active":
            return 0
        if self.is_standing:
            return min(self.slots, self.asked) - len(self.held)
        return min(self.slots - len(self.held), self.wanted)

    def serves(self, task: KnownTask) -> bool:
        kind = task.new.kind
        return (
            kind.queue in self.queues
            and (not self.types or kind.type in self.types)
            and all(tag in self.tags for tag in kind.requires)
        )


@dataclass(eq=False)
class KnownOperation:
    id: str
    meaning: tuple[str, str | None, str | None]
    meant: list[tuple[KnownTask, int]]  # With what `came` was then.
    total: int
    done: int = 0
    finished_ms: int | None = None


class Known:
    """All tasks, workers, queues, keys and operations, and what can be said of them."""

    def __init__(self, *, lease_ms: int, heartbeat_ms: int) -> None:
        self.lease_ms = lease_ms
        self.heartbeat_ms = heartbeat_ms
        self.cluster_ms = 0
        self.wall_ms = 0
        self.grace_ms = 0
        self.count = 0  # Of tasks, workers, heartbeats.
        self.newest_token = 0
        self.newest_moment = 0
        self.completed_ever = 0
        self.tasks: dict[str, KnownTask] = {}
        self.workers: dict[str, KnownWorker] = {}
        self.operations: dict[str, KnownOperation] = {}
        self.keys: dict[str, tuple[bytes, str, int]] = {}  # Its body, task, and end.
        self.paused: list[str] = []
        self.suspended: list[str] = []  # Nodes: whoever is connected there is given nothing.
        self.version = 1
        self.is_bounded = False
        self.is_refused = False  # Whether the machine said of this command that it is full.
        self.evicted: list[str] = []  # What the machine removed in this entry for want of room.
        self.events: list[str] = []  # Each kind, and what it befell.
        self.grants: list[tuple[str, str, int]] = []  # Task, worker and token.

    def newest_first(self):
        return sorted(self.tasks.values(), key=lambda task: -task.number)

    def dead(self, queue=None, type_=None):
        """Those that failed for good, the first to do so first."""
        found = [task for task in self.tasks.values() if task.status == "failed"]
        return [
            task
            for task in sorted(found, key=lambda task: task.came)
            if queue in (None, task.new.kind.queue) and type_ in (None, task.new.kind.type)
        ]

    def leases_of(self, worker, *, above=0):
        for token, task in worker.held.items():
            if token > above:
                kind, extras = task.new.kind, task.new.extras or Extras()
                yield Lease(
                    task_id=task.new.id,
                    token=token,
                    type=kind.type,
                    queue=kind.queue,
                    payload=task.new.payload,
                    content_type=kind.content_type,
                    attempt=task.attempts + 1,
                    timeout_ms=kind.policy.timeout_ms,
                    meta=extras.meta,
                    traceparent=extras.traceparent,
                    priority=kind.priority,
                    cancel_requested=task.is_to_cancel,
                )

    def is_expired(self, task):
        return task.expires_ms is not None and task.expires_ms <= self.wall_ms

    def is_current(self, task, token):
        return task.status == "processing" and task.token == token

    def is_open(self, task, token):
        return self.is_current(task, token) or task.late == token

    def session(self, command):
        worker = self.workers.get(command.worker_id)
        if worker is None:
            return Refusal.WORKER_UNKNOWN
        return Refusal.WORKER_LOST if worker.status == "lost" else worker

    def hear(self, worker):
        worker.heard = self.next()
        worker.deadline_ms = self.cluster_ms + self.lease_ms

    def is_served_by(self, node):
        """Whether an active worker is connected there."""
        return any(
            worker.node == node and worker.status == "active" for worker in self.workers.values()
        )

    def tell_of(self, task, kind):
        if kind not in ("progress", "removed"):
            task.story.append(kind)
        self.tell(kind, task.new.id)

    def tell(self, kind, whom):
        self.events.append(f"{kind} {whom}")

    def next(self):
        self.count += 1
        return self.count

    def moment(self):
        self.newest_moment = max(self.newest_moment + 1, self.cluster_ms * MOMENTS)
        return self.newest_moment


def load_of(worker):
    return len(worker.held) * 1_000 // worker.slots, worker.newest_token, worker.number


def ids_of(worker):
    return tuple(task.new.id for task in worker.held.values())


def run_at_of(new, now_ms):
    if new.run_at_ms is not None:
        return new.run_at_ms
    return now_ms + new.delay_ms if new.delay_ms else None


def body_of(new, created_ms):
    """What makes two submissions the same."""
    return new.payload, new.kind, run_at_of(new, created_ms), (new.extras or Extras()).meta
