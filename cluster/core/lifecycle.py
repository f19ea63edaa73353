"""A task's way from status to status: `move` is the one place that changes it.

Whatever follows from the status follows from here: the tallies, the lane of a pending task, and
the one timer that a task has on the wall clock.
"""

from __future__ import annotations

from cluster.core import ready
from cluster.core.model import Run, Task, TaskStatus, due_key
from cluster.core.state import State


def run_of(task: Task) -> Run:
    """What is known of *task*'s runs; from here on it is kept."""
    run = task.run
    if run is None:
        run = task.run = Run()
    return run


def move(state: State, task: Task, status: TaskStatus) -> None:
    """Change *task*'s status and all that follows from it; the fields it needs are set before."""
    before = task.status
    if before is TaskStatus.PENDING:
        state.ready.remove(task)
    task.status = status
    if task.run is not None:
        task.run.late_token = None
    space = state.spaces[task.kind.namespace]
    space.tally.moved(before, status)
    space.listing.moved(task, before)
    set_timer(state, task)
    if status is TaskStatus.PENDING:
        state.crews.wait(task, state.ready)


def set_timer(state: State, task: Task) -> None:
    """Set the one timer that *task*'s status calls for, in place of the one it had."""
    timer = timer_of(task)
    if timer == task.timer:
        return
    drop_timer(state, task)
    if timer is not None:
        task.timer = timer
        state.timers.add(task)


def drop_timer(state: State, task: Task) -> None:
    """Take out the timer that *task* has, if it has one."""
    if task.timer is not None:
        state.timers.remove(task)
        task.timer = None


def timer_of(task: Task) -> int | None:
    """The one timer that *task* is to have."""
    due_ms = _due_ms(task)
    return None if due_ms is None else due_key(due_ms, task.number)


def _due_ms(task: Task) -> int | None:
    """When something is due by the wall clock: its start, its retry, its expiry, its removal."""
    status = task.status
    if status is TaskStatus.PROCESSING or status is TaskStatus.FAILED:
        return None  # It runs, or it is a dead letter: these stay until someone acts.
    if status is TaskStatus.PENDING:
        return task.expires_at_ms
    if status is TaskStatus.SCHEDULED:
        return task.run_at_ms
    run = task.run
    assert run is not None, "what is retried or has ended has a run"
    if status is TaskStatus.RETRYING:
        assert run.retry_at_ms is not None, "a retrying task has its next moment"
        if task.expires_at_ms is None:
            return run.retry_at_ms
        return min(run.retry_at_ms, task.expires_at_ms)
    assert run.finished_at_ms is not None, "a finished task has an end"
    return run.finished_at_ms + task.kind.policy.retention_ms


def is_expired(state: State, task: Task) -> bool:
    """Whether *task* has waited longer than it may."""
    return task.expires_at_ms is not None and task.expires_at_ms <= state.now.wall_ms


def take_place(state: State, task: Task) -> None:
    """Give *task* its turn behind all that became pending before it, as far as priority goes."""
    state.newest_place = ready.next_place(state.newest_place, state.now.cluster_ms)
    task.turn = ready.turn_of(state.newest_place, task.kind.priority)


def make_ready(state: State, task: Task) -> None:
    """Let *task* wait for a worker, behind all that became pending before it."""
    take_place(state, task)
    if task.run is not None:
        task.run.retry_at_ms = None
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
    run = run_of(task)
    run.finished_at_ms = state.now.wall_ms
    run.retry_at_ms = None
    if error is not None:
        run.error = error
    move(state, task, status)
    state.happened(status.value, task, worker_id=worker_id, attempt=attempt, error=error)


def expire(state: State, task: Task) -> None:
    """Drop a task that waited longer than it may."""
    finish(state, task, TaskStatus.EXPIRED)


def remove(state: State, task: Task) -> None:
    """Forget a task that rests."""
    space = state.spaces[task.kind.namespace]
    drop_timer(state, task)
    space.listing.remove(task)
    del space.tasks[task.id]
    space.tally.removed(task.status)
    state.happened("removed", task)
