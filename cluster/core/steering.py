"""What a task's owner may ask of it once it was submitted: cancel it, or try it again."""

from __future__ import annotations

from cluster.core import leasing, lifecycle, sizes
from cluster.core.commands import Cancel, Refusal, Refused, Retry, Settled
from cluster.core.model import Task, TaskStatus
from cluster.core.queue_commands import Removed, RemoveDead
from cluster.core.state import State

_RETRYABLE = (TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED)


def cancel(state: State, command: Cancel) -> Settled | Refused:
    """Cancel a waiting task now; ask the worker of a running one to give it up."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    if task.status is TaskStatus.CANCELLED:
        return Settled(task.id, task.status, is_duplicate=True)
    if task.status.is_final:
        return Refused(
            Refusal.NOT_CANCELLABLE, f"task {task.id} is {task.status}: it has ended already"
        )

    if task.status is not TaskStatus.PROCESSING:
        lifecycle.finish(state, task, TaskStatus.CANCELLED)
        return Settled(task.id, task.status)

    run = lifecycle.run_of(state, task)
    is_repeat = run.cancel_requested
    if not is_repeat:
        run.cancel_requested = True
        state.happened("cancel_requested", task, worker_id=run.worker_id)
    return Settled(task.id, task.status, is_duplicate=is_repeat)


def retry(state: State, command: Retry) -> Settled | Refused:
    """Begin a task that ended without a result anew, as if it had just been submitted."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    if task.status not in _RETRYABLE:
        return Refused(
            Refusal.NOT_RETRYABLE,
            f"task {task.id} is {task.status}: only a failed, cancelled or expired one is retried",
        )

    begin_anew(state, task)
    return Settled(task.id, task.status)


def remove_dead(state: State, command: RemoveDead) -> Removed | Refused:
    """Remove a dead letter for good."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    if task.status is not TaskStatus.FAILED:
        return Refused(
            Refusal.NOT_REMOVABLE,
            f"task {task.id} is {task.status}: only a dead letter is removed",
        )

    lifecycle.remove(state, task)
    return Removed(task.id)


def begin_anew(state: State, task: Task) -> None:
    """Let a task that ended wait as if it had just been submitted."""
    state.bytes_ended -= sizes.task_bytes(task)
    run = lifecycle.run_of(state, task)
    run.attempts = 0
    run.killed = 0
    run.cancel_requested = False
    lifecycle.set_error(state, run, None)
    state.bytes_used -= sizes.blob_bytes(run.progress) + sizes.ENDED_BYTES
    run.progress = run.progress_content_type = None
    run.worker_id = None
    run.started_at_ms = None
    run.finished_at_ms = None
    ttl_ms = task.kind.policy.ttl_ms
    if ttl_ms is not None:
        task.expires_at_ms = state.now.wall_ms + ttl_ms
    lifecycle.make_ready(state, task)
