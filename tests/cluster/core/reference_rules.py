"""What the reference does by itself, and what a task goes through: one short rule after another."""

from __future__ import annotations

from tests.cluster.core.reference_records import ENDED, WAITING, Known, load_of

HOUR_MS = 3_600_000


class Rules(Known):
    """All that follows from what is known and from the two clocks."""

    def do_what_is_due(self):
        self.end_what_runs_too_long()
        self.lose_who_is_silent()
        while self.evicted and self.evicted[:1] == self.first_ended():
            self.remove(self.tasks[self.evicted.pop(0)])
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

    def first_ended(self):
        """What goes first when there is no room, if anything has ended: dead letters go last."""
        ended = [task for task in self.tasks.values() if task.status in ENDED]
        ended.sort(key=lambda task: (task.status == "failed", task.came))
        return [task.new.id for task in ended[:1]]

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
        self.suspended = [node for node in self.suspended if self.is_served_by(node)]
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
            free = [worker for worker in self.workers.values() if self.may_take(worker, task)]
            if free:
                return task, min(free, key=load_of)
        return None

    def may_take(self, worker, task):
        is_suspended = worker.node in self.suspended
        return worker.room() > 0 and worker.serves(task) and not is_suspended

    def lease(self, task, worker):
        self.newest_token += 1
        task.status = "processing"
        task.worker_id = worker.id
        task.token = worker.newest_token = self.newest_token
        task.late = None
        task.leased_ms = self.cluster_ms
        task.started_ms = self.wall_ms
        task.deliveries += 1
        if self.version < 2:
            task.progress = (None, None)
        worker.held[task.token] = task
        worker.wanted -= 1
        self.tell_of(task, "leased")
        self.grants.append((task.new.id, worker.id, task.token))

    # What a task goes through.

    def make_ready(self, task):
        task.status = "pending"
        task.came = self.moment()
        task.retry_ms = None
        self.tell_of(task, "ready")

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
        self.tell_of(task, "released")

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
        self.tell_of(task, "retrying")

    def finish(self, task, status):
        task.status = status
        task.late = task.retry_ms = None
        task.finished_ms = self.wall_ms
        task.came = self.moment()
        self.tell_of(task, status)

    def remove(self, task):
        del self.tasks[task.new.id]
        self.tell_of(task, "removed")
