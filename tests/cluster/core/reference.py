"""What the machine must do, as plainly as it can be said: a few lists, looked through every time.

It shares the machine's words (commands, replies, statuses) and nothing of its making: no lanes, no
crews, no timers, no budget of work. It is slow, and that is all that is wrong with it. It does not
count bytes: what is evicted it is told, and judges (`evicted`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cluster.core.commands import (
    Draining,
    Left,
    Offered,
    Refusal,
    Registered,
    Renewed,
    Settled,
    Submitted,
    SubmittedTask,
    Ticked,
)
from cluster.core.model import Extras, Lease, NewTask
from cluster.core.queue_commands import Removed, Started, Steered

WAITING = ("scheduled", "pending", "retrying")
ENDED = ("completed", "failed", "cancelled", "expired")
AGEING_MS = 300_000
HOUR_MS = 3_600_000
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


class Reference:
    """All that is promised, for one namespace."""

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
        self.events: list[str] = []  # Each kind, and what it befell.
        self.grants: list[tuple[str, str, int]] = []  # Task, worker and token.

    # What is asked for.

    def entry(self, commands, cluster_ms, wall_ms):
        """The replies to an entry's commands, a refusal standing for its sentence."""
        self.cluster_ms = max(self.cluster_ms, cluster_ms)
        self.wall_ms = max(self.wall_ms, wall_ms)
        self.events, self.grants = [], []
        replies = [self.do(command) for command in commands]
        self.do_what_is_due()
        return replies

    def do(self, command):
        reply = getattr(self, command.op)(command)
        self.match()
        return reply

    def submit(self, command):
        refusal = self.refusal_of(command.tasks)
        if refusal is not None:
            return refusal
        taken = []
        for new in command.tasks:
            key = new.idempotency
            if key is not None and key.key in self.keys:
                task_id = self.keys[key.key][1]
                taken.append((task_id, self.tasks.get(task_id), True))
                continue
            if key is not None:
                self.keys[key.key] = key.body, new.id, self.wall_ms + 24 * HOUR_MS
            is_known = new.id in self.tasks
            taken.append((new.id, self.tasks.get(new.id) or self.take_in(new), is_known))
        self.match()
        return Submitted(tuple(SubmittedTask(i, t and t.status, known) for i, t, known in taken))

    def refusal_of(self, tasks):
        keys = {key: body for key, (body, _, _) in self.keys.items()}
        bodies = {task.new.id: body_of(task.new, task.created_ms) for task in self.tasks.values()}
        for new in tasks:
            if new.idempotency is not None:
                key, digest = new.idempotency
                if key in keys and keys[key] != digest:
                    return Refusal.IDEMPOTENCY_CONFLICT
                if key in keys:
                    continue
                keys[key] = digest
            created_ms = self.tasks[new.id].created_ms if new.id in self.tasks else self.wall_ms
            body = body_of(new, created_ms)
            if bodies.setdefault(new.id, body) != body:
                return Refusal.ID_CONFLICT
        return None

    def take_in(self, new):
        run_at_ms = run_at_of(new, self.wall_ms)
        is_early = run_at_ms is not None and run_at_ms > self.wall_ms
        ttl_ms = new.kind.policy.ttl_ms
        task = KnownTask(
            new=new,
            status="scheduled" if is_early else "pending",
            number=self.next(),
            created_ms=self.wall_ms,
            run_at_ms=run_at_ms,
            expires_ms=None if ttl_ms is None else max(self.wall_ms, run_at_ms or 0) + ttl_ms,
            came=0 if is_early else self.moment(),
        )
        self.tasks[new.id] = task
        self.tell("submitted", new.id)
        return task

    def register(self, command):
        worker = self.workers.get(command.worker_id)
        if worker is None:
            worker = self.workers[command.worker_id] = KnownWorker(
                id=command.worker_id,
                queues=command.queues,
                types=command.types,
                tags=command.tags,
                slots=command.slots,
                node=command.node,
                number=self.next(),
            )
            self.hear(worker)
            self.tell("worker_joined", worker.id)
        return Refusal.WORKER_LOST if worker.status == "lost" else Registered(worker.id)

    def offer(self, command):
        worker = self.session(command)
        if isinstance(worker, Refusal):
            return worker
        if command.epoch < worker.epoch:
            return Offered(())
        if command.epoch > worker.epoch:
            worker.epoch = command.epoch
            worker.epoch_token = self.newest_token
            worker.is_standing = command.is_standing
            worker.asked = command.slots
            worker.wanted = min(worker.slots - len(worker.held), command.slots)
            self.match()
        return Offered(tuple(self.leases_of(worker, above=worker.epoch_token)))

    def heartbeat(self, command):
        worker = self.session(command)
        if isinstance(worker, Refusal):
            return worker
        worker.node = command.node
        self.hear(worker)
        lost = tuple(token for token in command.lease_tokens if token not in worker.held)
        cancel = []
        for token, task in list(worker.held.items()):
            is_old = task.leased_ms + self.heartbeat_ms <= self.cluster_ms
            if is_old and token not in command.lease_tokens:
                self.give_back(task)
            elif task.is_to_cancel:
                cancel.append(task.new.id)
        return Renewed(tuple(cancel), lost, worker.status == "draining")

    def drain(self, command):
        worker = self.session(command)
        if isinstance(worker, Refusal):
            return worker
        if worker.status == "active":
            worker.status = "draining"
            self.tell("worker_draining", worker.id)
        return Draining(ids_of(worker))

    def leave(self, command):
        worker = self.session(command)
        if isinstance(worker, Refusal):
            return worker
        self.tell("worker_left", worker.id)
        task_ids = ids_of(worker)
        for task in list(worker.held.values()):
            self.give_back(task)
        del self.workers[worker.id]
        return Left(task_ids)

    def complete(self, command):
        task = self.tasks.get(command.task_id)
        if task is None:
            return Refusal.TASK_UNKNOWN
        if task.status == "completed" and task.accepted == command.lease_token:
            return Settled(task.new.id, task.status, is_duplicate=True)
        if not self.is_open(task, command.lease_token):
            return Refusal.LEASE_LOST
        self.end_run(task, command.lease_token)
        self.completed_ever += 1
        task.result = command.result, command.content_type
        task.error = None
        self.finish(task, "completed")
        return Settled(task.new.id, "completed", is_duplicate=False)

    def fail(self, command):
        task = self.tasks.get(command.task_id)
        if task is None:
            return Refusal.TASK_UNKNOWN
        if task.status != "completed" and task.accepted == command.lease_token:
            return Settled(task.new.id, task.status, is_duplicate=True)
        if not self.is_open(task, command.lease_token):
            return Refusal.LEASE_LOST
        self.end_run(task, command.lease_token)
        self.fail_attempt(task, command.error, may_retry=command.retry)
        return Settled(task.new.id, task.status, is_duplicate=False)

    def release(self, command):
        task = self.tasks.get(command.task_id)
        if task is None:
            return Refusal.TASK_UNKNOWN
        if not self.is_current(task, command.lease_token):
            return Refusal.LEASE_LOST
        task.killed = 0
        self.give_back(task)
        return Settled(task.new.id, task.status, is_duplicate=False)

    def report(self, command):
        task = self.tasks.get(command.task_id)
        if task is None:
            return Refusal.TASK_UNKNOWN
        if not self.is_current(task, command.lease_token):
            return Refusal.LEASE_LOST
        told = command.progress, command.content_type
        is_duplicate = task.progress == told
        if not is_duplicate:
            task.progress = told
            self.tell("progress", task.new.id)
        return Settled(task.new.id, "processing", is_duplicate)

    def cancel(self, command):
        task = self.tasks.get(command.task_id)
        if task is None:
            return Refusal.TASK_UNKNOWN
        if task.status in ("completed", "failed", "expired"):
            return Refusal.NOT_CANCELLABLE
        is_duplicate = task.status == "cancelled" or task.is_to_cancel
        if task.status in WAITING:
            self.finish(task, "cancelled")
        elif not is_duplicate:
            task.is_to_cancel = True
            self.tell("cancel_requested", task.new.id)
        return Settled(task.new.id, task.status, is_duplicate)

    def retry(self, command):
        task = self.tasks.get(command.task_id)
        if task is None:
            return Refusal.TASK_UNKNOWN
        if task.status not in ("failed", "cancelled", "expired"):
            return Refusal.NOT_RETRYABLE
        self.begin_anew(task)
        return Settled(task.new.id, "pending", is_duplicate=False)

    def pause_queue(self, command):
        is_duplicate = command.queue in self.paused
        if not is_duplicate:
            self.paused.append(command.queue)
            self.tell("queue_paused", command.queue)
        return Steered(command.queue, is_paused=True, is_duplicate=is_duplicate)

    def resume_queue(self, command):
        is_duplicate = command.queue not in self.paused
        if not is_duplicate:
            self.paused.remove(command.queue)
            self.tell("queue_resumed", command.queue)
        return Steered(command.queue, is_paused=False, is_duplicate=is_duplicate)

    def purge_queue(self, command):
        there = [task for task in self.newest_first() if task.new.kind.queue == command.queue]
        waiting = sum(task.status in WAITING for task in there)
        return self.begin(command.operation_id, ("purge", command.queue, None), there, waiting)

    def retry_dead(self, command):
        dead = self.dead(command.queue, command.type)
        meaning = "retry_dead", command.queue, command.type
        return self.begin(command.operation_id, meaning, dead, len(dead))

    def begin(self, operation_id, meaning, tasks, total):
        known = self.operations.get(operation_id)
        if known is None:
            meant = [(task, task.came) for task in tasks]
            self.operations[operation_id] = KnownOperation(operation_id, meaning, meant, total)
        elif known.meaning != meaning:
            return Refusal.OPERATION_CONFLICT
        return Started(operation_id, is_duplicate=known is not None)

    def remove_dead(self, command):
        task = self.tasks.get(command.task_id)
        if task is None:
            return Refusal.TASK_UNKNOWN
        if task.status != "failed":
            return Refusal.NOT_REMOVABLE
        self.remove(task)
        return Removed(task.new.id)

    def begin_term(self, command):
        longest_ms = max(self.lease_ms, command.lease_ms or 0)
        self.grace_ms = max(self.grace_ms, self.cluster_ms + longest_ms)
        self.lease_ms = command.lease_ms or self.lease_ms
        self.heartbeat_ms = command.heartbeat_ms or self.heartbeat_ms
        self.tell("leader_changed", command.node)
        return Ticked

    def tick(self, _command):
        self.do_what_is_due()
        return Ticked  # How many units that is, is the machine's own affair.

    # What follows by itself.

    def do_what_is_due(self):
        self.end_what_runs_too_long()
        self.lose_who_is_silent()
        self.go_on_with_operations()
        while self.ring_one_timer():
            pass
        self.operations = {
            operation.id: operation
            for operation in self.operations.values()
            if operation.finished_ms + HOUR_MS > self.cluster_ms
        }
        self.keys = {key: kept for key, kept in self.keys.items() if kept[2] > self.wall_ms}
        self.match()

    def end_what_runs_too_long(self):
        running = [task for task in self.tasks.values() if task.status == "processing"]
        limited = [task for task in running if task.new.kind.policy.timeout_ms is not None]
        due = [
            (task.leased_ms + task.new.kind.policy.timeout_ms, task.number, task)
            for task in limited
        ]
        for due_ms, _, task in sorted(due):
            if due_ms <= self.cluster_ms:
                self.take_back(task)
                self.fail_attempt(task, "timeout", may_retry=True)

    def lose_who_is_silent(self):
        for worker in sorted(self.workers.values(), key=lambda worker: worker.heard):
            if worker.status == "lost":
                if worker.deadline_ms <= self.cluster_ms:
                    del self.workers[worker.id]
            elif max(worker.deadline_ms, self.grace_ms) <= self.cluster_ms:
                worker.status = "lost"
                self.tell("worker_lost", worker.id)
                for task in list(worker.held.values()):
                    self.lose_delivery(task)
                worker.deadline_ms = self.cluster_ms + HOUR_MS

    def lose_delivery(self, task):
        task.killed += 1
        if task.killed < 3 or task.is_to_cancel:
            self.give_back(task)
            task.late = task.token if task.status == "pending" else None
            return
        self.take_back(task)
        task.error = "its worker was lost 3 times in a row"
        self.finish(task, "failed")

    def go_on_with_operations(self):
        for operation in self.operations.values():
            if operation.finished_ms is not None:
                continue
            kind = operation.meaning[0]
            for task, came in operation.meant:
                if self.tasks.get(task.new.id) is not task:
                    continue
                if kind == "purge" and task.status in WAITING:
                    self.remove(task)
                elif kind == "retry_dead" and (task.status, task.came) == ("failed", came):
                    self.begin_anew(task)
                else:
                    continue
                operation.done += 1
            operation.total = max(operation.total, operation.done)
            operation.finished_ms = self.cluster_ms

    def ring_one_timer(self):
        due = [(self.due_ms(task), task.number, task) for task in self.tasks.values()]
        due = [each for each in due if each[0] is not None and each[0] <= self.wall_ms]
        if not due:
            return False
        task = min(due)[2]
        if task.status in ENDED:
            self.remove(task)
        elif self.is_expired(task):
            self.finish(task, "expired")
        else:
            self.make_ready(task)
        return True

    def due_ms(self, task):
        expires = [] if task.expires_ms is None else [task.expires_ms]
        return {
            "scheduled": lambda: task.run_at_ms,
            "pending": lambda: min(expires, default=None),
            "retrying": lambda: min([task.retry_ms, *expires]),
            "processing": lambda: None,
            "failed": lambda: None,
        }.get(task.status, lambda: task.finished_ms + task.new.kind.policy.retention_ms)()

    def match(self):
        """Lease the task whose turn it is to the least loaded worker that serves it; and again."""
        while (found := self.next_pair()) is not None:
            task, worker = found
            if self.is_expired(task):
                self.finish(task, "expired")
            else:
                self.lease(task, worker)

    def next_pair(self):
        pending = [task for task in self.tasks.values() if task.status == "pending"]
        for task in sorted(pending, key=lambda task: task.turn):
            if task.new.kind.queue in self.paused:
                continue
            free = [each for each in self.workers.values() if each.room() > 0 and each.serves(task)]
            if free:
                return task, min(free, key=load_of)
        return None

    def lease(self, task, worker):
        self.newest_token += 1
        task.status = "processing"
        task.worker_id = worker.id
        task.token = worker.newest_token = self.newest_token
        task.late = None
        task.leased_ms = self.cluster_ms
        task.started_ms = self.wall_ms
        task.deliveries += 1
        task.progress = (None, None)
        worker.held[task.token] = task
        worker.wanted -= 1
        self.tell("leased", task.new.id)
        self.grants.append((task.new.id, worker.id, task.token))

    # What a task goes through.

    def make_ready(self, task):
        task.status = "pending"
        task.came = self.moment()
        task.retry_ms = None
        self.tell("ready", task.new.id)

    def begin_anew(self, task):
        task.attempts = task.killed = 0
        task.is_to_cancel = False
        task.progress = (None, None)
        task.worker_id = task.error = task.started_ms = task.finished_ms = None
        if task.new.kind.policy.ttl_ms is not None:
            task.expires_ms = self.wall_ms + task.new.kind.policy.ttl_ms
        self.make_ready(task)

    def take_back(self, task):
        worker = self.workers[task.worker_id]
        del worker.held[task.token]
        return worker

    def give_back(self, task):
        self.take_back(task)
        if task.is_to_cancel:
            self.finish(task, "cancelled")
            return
        task.status = "pending"
        task.worker_id = task.started_ms = None
        self.tell("released", task.new.id)

    def end_run(self, task, token):
        task.accepted = token
        if task.status == "processing":
            self.take_back(task).processed += 1

    def fail_attempt(self, task, error, *, may_retry):
        task.killed = 0
        task.error = error
        if task.is_to_cancel:
            self.finish(task, "cancelled")
            return
        task.attempts += 1
        if not may_retry or task.attempts >= task.new.kind.policy.max_attempts:
            self.finish(task, "failed")
            return
        backoff = task.new.kind.policy.backoff  # Which doubles, and has no jitter.
        task.status = "retrying"
        task.late = task.worker_id = None
        task.retry_ms = self.wall_ms + backoff.initial_ms * 2 ** (task.attempts - 1)
        self.tell("retrying", task.new.id)

    def finish(self, task, status):
        task.status = status
        task.late = task.retry_ms = None
        task.finished_ms = self.wall_ms
        task.came = self.moment()
        self.tell(status, task.new.id)

    def remove(self, task):
        del self.tasks[task.new.id]
        self.tell("removed", task.new.id)

    # What can be said of it all.

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

    def leases_of(self, worker, *, above=0) -> Iterator[Lease]:
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
