"""What a task's owner may ask of it once it was submitted: cancel it, or try it again."""

from __future__ import annotations

from cluster.core import leasing, lifecycle
from cluster.core.commands import Cancel, Refusal, Refused, Retry, Settled
from cluster.core.model import TaskStatus
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
        return Settled(task.id, task.status, is_duplicate=False)

    is_repeat = task.cancel_requested
    if not is_repeat:
        task.cancel_requested = True
        state.happened("cancel_requested", task, worker_id=task.worker_id)
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

    task.attempts = 0
    task.killed = 0
    task.cancel_requested = False
    task.error = None
    task.progress = None
    task.worker_id = None
    task.started_at_ms = None
    task.finished_at_ms = None
    if task.policy.ttl_ms is not None:
        task.expires_at_ms = state.wall_time_ms + task.policy.ttl_ms
    lifecycle.make_ready(state, task)
    return Settled(task.id, task.status, is_duplicate=False)
