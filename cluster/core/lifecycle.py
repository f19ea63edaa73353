"""A task's way from status to status: `move` is the one place that changes it.

Whatever follows from the status follows from here: the tallies, where a pending task waits, the
dead letters, and the one timer that a task has on the wall clock.
"""

from __future__ import annotations

from cluster.core import room, sizes
from cluster.core.model import (
    ERROR_TOLD_MAX,
    FAILED,
    FINAL,
    PENDING,
    PROCESSING,
    RETRYING,
    SCHEDULED,
    Run,
    Task,
    TaskStatus,
    due_key,
)
from cluster.core.ready import PLACE_STEP, PLACES_PER_MS, turn_of
from cluster.core.state import State


def run_of(state: State, task: Task) -> Run:
    """What is known of *task*'s runs; from here on it is kept."""
    run = task.run
    if run is None:
        run = task.run = Run()
        state.bytes_used += sizes.RUN_BYTES
    return run


def move(state: State, task: Task, status: TaskStatus, turn: int | None = None) -> None:
    """Change *task*'s status and all that follows from it; the fields it needs are set before.

    *turn* is its new one, if it does not keep its own. A task that moves has a run.
    """
    run = task.run
    assert run is not None, "a task that moves has a run"
    before = task.status
    kind = task.kind
    if before is not PROCESSING:
        _leave(state, task)
    if turn is not None:
        task.turn = turn
    task.status = status
    run.late_token = None
    kind.moved(before, status)
    kind.space.listing.moved(task, before)
    set_timer(state, task)
    if status is not PROCESSING:
        enter(state, task)


def enter(state: State, task: Task) -> None:
    """Let *task* stand where its status has it stand; a running one stands nowhere."""
    status = task.status
    if status is PENDING:
        state.crews.wait(task.kind, [task], state.ready)
    elif status is FAILED:
        task.kind.space.dead.add(task)
    elif status in FINAL:
        task.kind.space.rested.add(task)


def _leave(state: State, task: Task) -> None:
    """Undo `enter`."""
    status = task.status
    if status is PENDING:
        state.ready.remove(task)
    elif status is FAILED:
        task.kind.space.dead.remove(task)
    elif status in FINAL:
        task.kind.space.rested.remove(task)


def set_timer(state: State, task: Task) -> None:
    """Set the one timer that *task*'s status calls for, in place of the one it had."""
    timer = None if task.status is PROCESSING else timer_of(task)
    if timer == task.timer:
        return
    if task.timer is not None:
        state.timers.remove(task)
    task.timer = timer
    if timer is not None:
        state.timers.add(task)


def drop_timer(state: State, task: Task) -> None:
    """Take out the timer that *task* has, if it has one."""
    if task.timer is not None:
        state.timers.remove(task)
        task.timer = None


def timer_of(task: Task) -> int | None:
    """The one timer that *task* is to have."""
    status = task.status
    if status is PROCESSING or status is FAILED:
        return None  # It runs, or it is a dead letter: these stay until someone acts.
    if status is PENDING:
        due_ms = task.expires_at_ms
    elif status is SCHEDULED:
        due_ms = task.run_at_ms
    elif status is RETRYING:
        due_ms = _due_while_retrying(task)
    else:
        run = task.run
        assert run is not None, "what has ended has a run"
        assert run.finished_at_ms is not None, "what has ended has an end"
        due_ms = run.finished_at_ms + task.kind.policy.retention_ms
    return None if due_ms is None else due_key(due_ms, task.number)


def _due_while_retrying(task: Task) -> int:
    """When the next attempt is due, or the expiry if that comes first."""
    run = task.run
    assert run is not None, "what is retried has a run"
    assert run.retry_at_ms is not None, "a retrying task has its next moment"
    if task.expires_at_ms is None:
        return run.retry_at_ms
    return min(run.retry_at_ms, task.expires_at_ms)


def is_expired(state: State, task: Task) -> bool:
    """Whether *task* has waited longer than it may."""
    return task.expires_at_ms is not None and task.expires_at_ms <= state.now.wall_ms


def next_turn(state: State, priority: int = 0) -> int:
    """The turn behind all that were given so far, as far as *priority* goes."""
    place = state.newest_place + PLACE_STEP
    earliest = state.now.cluster_ms * PLACES_PER_MS  # Places grow at least as time does.
    if place < earliest:
        place = earliest
    state.newest_place = place
    return turn_of(place, priority) if priority else place


def make_ready(state: State, task: Task) -> None:
    """Let *task* wait for a worker, behind all that became pending before it."""
    run_of(state, task).retry_at_ms = None  # It has a timeline from here on, if it had none.
    move(state, task, PENDING, turn=next_turn(state, task.kind.priority))
    state.happened("ready", task)


def finish(
    state: State,
    task: Task,
    status: TaskStatus,
    worker_id: str | None = None,
    attempt: int | None = None,
    error: str | None = None,
) -> None:
    """End *task*; the event is named after the status. *error* replaces what was there."""
    run = task.run or run_of(state, task)
    run.finished_at_ms = state.now.wall_ms
    run.retry_at_ms = None
    if error is not None:
        set_error(state, run, error)
    state.bytes_used += sizes.ENDED_BYTES
    move(state, task, status, next_turn(state))
    state.happened(status, task, worker_id, attempt, error)
    state.bytes_ended += sizes.task_bytes(task)


def set_error(state: State, run: Run, error: str | None) -> None:
    """Keep why the newest run failed, in place of what was there; its beginning in a full state."""
    if error is not None and not room.is_left(state, sizes.text_bytes(error)):
        error = error[:ERROR_TOLD_MAX]
    state.bytes_used += sizes.text_bytes(error) - sizes.text_bytes(run.error)
    run.error = error


def expire(state: State, task: Task) -> None:
    """Drop a task that waited longer than it may."""
    finish(state, task, TaskStatus.EXPIRED)


def remove(state: State, task: Task, *, why: str | None = None) -> None:
    """Forget a task that does not run. The event says *why*, unless someone asked for it."""
    space = task.kind.space
    queue = task.kind.home
    _leave(state, task)
    drop_timer(state, task)
    space.listing.remove(task)
    del space.tasks[task.id]
    space.tally.removed(task.status)
    queue.removed(task.status)
    space.queues.close_if_idle(queue)
    room.count_out(state, task)
    state.happened("removed", task, error=why)
