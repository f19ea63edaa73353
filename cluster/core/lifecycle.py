"""A task's way from status to status: `move` is the one place that changes it.

Whatever follows from the status follows from here: the tallies, the lane of a pending task, and
the one timer that a task has on the wall clock.
"""

from __future__ import annotations

from cluster.core.model import Task, TaskStatus
from cluster.core.state import State


def move(state: State, task: Task, status: TaskStatus) -> None:
    """Change *task*'s status and all that follows from it; the fields it needs are set before."""
    before = task.status
    if before is TaskStatus.PENDING:
        state.ready.remove(task)
    task.status = status
    task.late_token = None
    state.spaces[task.namespace].tally.moved(before, status)
    set_timer(state, task)
    if status is TaskStatus.PENDING:
        state.crews.wait(task, state.ready)


def set_timer(state: State, task: Task) -> None:
    """Set the one timer that *task*'s status calls for, in place of the one it had."""
    due_ms = due_of(task)
    if due_ms == task.due_ms:
        return
    drop_timer(state, task)
    if due_ms is not None:
        state.timers.add((due_ms, task.number, task))
        task.due_ms = due_ms


def drop_timer(state: State, task: Task) -> None:
    """Take out the timer that *task* has, if it has one."""
    if task.due_ms is not None:
        state.timers.remove((task.due_ms, task.number, task))
        task.due_ms = None


def due_of(task: Task) -> int | None:
    """When something is due by the wall clock: its start, its retry, its expiry, its removal."""
    status = task.status
    if status is TaskStatus.PROCESSING or status is TaskStatus.FAILED:
        return None  # It runs, or it is a dead letter: these stay until someone acts.
    if status is TaskStatus.PENDING:
        return task.expires_at_ms
    if status is TaskStatus.SCHEDULED:
        return task.run_at_ms
    if status is TaskStatus.RETRYING:
        assert task.retry_at_ms is not None, "a retrying task has its next moment"
        if task.expires_at_ms is None:
            return task.retry_at_ms
        return min(task.retry_at_ms, task.expires_at_ms)
    assert task.finished_at_ms is not None, "a finished task has an end"
    return task.finished_at_ms + task.policy.retention_ms


def is_expired(state: State, task: Task) -> bool:
    """Whether *task* has waited longer than it may."""
    return task.expires_at_ms is not None and task.expires_at_ms <= state.wall_time_ms


def make_ready(state: State, task: Task) -> None:
    """Let *task* wait for a worker, behind all that became pending before it."""
    state.newest_place += 1
    task.place = state.newest_place
    task.retry_at_ms = None
    move(state, task, TaskStatus.PENDING)
    state.happened("ready", task)


def finish(
    state: State,
    task: Task,
    status: TaskStatus,
    *,
    worker_id: str | None = None,
    attempt: int | None = None,
    error: str | None = None,
) -> None:
    """End *task*; the event is named after the status. *error* replaces what was there."""
    task.finished_at_ms = state.wall_time_ms
    task.retry_at_ms = None
    if error is not None:
        task.error = error
    move(state, task, status)
    state.happened(status.value, task, worker_id=worker_id, attempt=attempt, error=error)


def expire(state: State, task: Task) -> None:
    """Drop a task that waited longer than it may."""
    finish(state, task, TaskStatus.EXPIRED)


def remove(state: State, task: Task) -> None:
    """Forget a task that rests."""
    space = state.spaces[task.namespace]
    drop_timer(state, task)
    space.listing.remove((task.number, task))
    del space.tasks[task.id]
    space.tally.removed(task.status)
    state.happened("removed", task)
