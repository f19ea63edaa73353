"""What the machine must do, as plainly as it can be said: a few lists, looked through every time.

It shares the machine's words (commands, replies, statuses) and nothing of its making: no lanes, no
crews, no timers, no budget of work. It is slow, and that is all that is wrong with it. It does not
count bytes: that there is no room it is told, and knows what may follow from it.
"""

from __future__ import annotations

from cluster.core.commands import (
    Draining,
    Left,
    Noted,
    Offered,
    Refusal,
    Registered,
    Renewed,
    Settled,
    Submitted,
    SubmittedTask,
    Ticked,
)
from cluster.core.queue_commands import Removed, Started, Steered
from tests.cluster.core.reference_records import (
    WAITING,
    KnownOperation,
    KnownTask,
    KnownWorker,
    body_of,
    ids_of,
    run_at_of,
)
from tests.cluster.core.reference_rules import HOUR_MS, Rules


class Reference(Rules):
    """The machine's commands: what each does at once, and is answered."""

    def entry(self, commands, cluster_ms, wall_ms, *, refused, evicted):
        """The replies to an entry's commands, a refusal standing for its sentence.

        It is told for which of them there was no room, and which tasks were evicted in turn.
        """
        self.cluster_ms = max(self.cluster_ms, cluster_ms)
        self.wall_ms = max(self.wall_ms, wall_ms)
        self.events, self.grants = [], []
        self.evicted = list(evicted)
        replies = [self.do(*each) for each in zip(commands, refused, strict=True)]
        self.do_what_is_due()
        assert not self.evicted, "evicted, though others ended before them"
        return replies

    def do(self, command, is_refused):
        self.is_refused = is_refused
        assert self.is_bounded or not is_refused
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
        is_more = len(keys) > len(self.keys) or len(bodies) > len(self.tasks)
        return Refusal.CLUSTER_FULL if is_more and self.is_refused else None

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
        self.tell_of(task, "submitted")
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
            if self.is_refused:
                return Refusal.CLUSTER_FULL
            task.progress = told
            self.tell_of(task, "progress")
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
            self.tell_of(task, "cancel_requested")
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
        self.is_bounded = self.is_bounded or command.memory_bytes_max is not None
        self.tell("leader_changed", command.node)
        return Ticked

    def tick(self, _command):
        self.do_what_is_due()
        return Ticked  # How many units that is, is the machine's own affair.

    def suspend_node(self, command):
        is_news = command.node not in self.suspended and self.is_served_by(command.node)
        if is_news:
            self.suspended.append(command.node)
            self.tell("node_suspended", command.node)
        return Noted(is_news)

    def resume_node(self, command):
        is_news = command.node in self.suspended
        if is_news:
            self.suspended.remove(command.node)
            self.tell("node_resumed", command.node)
        return Noted(is_news)

    def raise_version(self, command):
        is_news = command.version > self.version
        self.version = max(self.version, command.version)
        return Noted(is_news)
