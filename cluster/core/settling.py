"""How a run ends, and what it says meanwhile: the commands that carry a lease token."""

from __future__ import annotations

from cluster.core import leasing, lifecycle, retrying, room, sizes
from cluster.core.commands import Complete, Fail, Refusal, Refused, Release, Report, Settled
from cluster.core.model import COMPLETED, PAYLOAD_BYTES_MAX, PROCESSING, Run, Task
from cluster.core.state import State

_new = tuple.__new__  # A third of the time that `Settled(…)` takes.


def complete(state: State, command: Complete) -> Settled | Refused:
    """Accept the result, unless a newer lease has superseded the token."""
    if len(command.result) > PAYLOAD_BYTES_MAX:
        return _too_large("result", command.task_id, len(command.result))
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    token = command.lease_token
    if task.status is COMPLETED and _was_accepted(task, token):
        return Settled(task.id, task.status, is_duplicate=True)
    run = _open_run(task, token)
    if run is None:
        return leasing.lost(task, token)

    worker_id = _end_run(state, task, run)
    state.bytes_used += sizes.blob_bytes(command.result)
    run.result = command.result
    run.result_content_type = command.content_type
    if run.error is not None:
        lifecycle.set_error(state, run, None)
    task.kind.space.tally.completed_ever += 1
    lifecycle.finish(state, task, COMPLETED, worker_id, run.attempts + 1)
    return _new(Settled, (task.id, COMPLETED, False))


def fail(state: State, command: Fail) -> Settled | Refused:
    """Count the failure, unless a newer lease has superseded the token."""
    if len(command.error) > PAYLOAD_BYTES_MAX:
        return _too_large("error", command.task_id, len(command.error))
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    token = command.lease_token
    if task.status is not COMPLETED and _was_accepted(task, token):
        return Settled(task.id, task.status, is_duplicate=True)
    run = _open_run(task, token)
    if run is None:
        return leasing.lost(task, token)

    worker_id = _end_run(state, task, run)
    retrying.fail_attempt(state, task, command.error, may_retry=command.retry, worker_id=worker_id)
    return Settled(task.id, task.status)


def release(state: State, command: Release) -> Settled | Refused:
    """Hand the task back to its old place; one that was to be cancelled is cancelled."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    if not leasing.is_current(task, command.lease_token):
        return leasing.lost(task, command.lease_token)

    lifecycle.run_of(state, task).killed = 0
    leasing.give_back(state, task)
    return Settled(task.id, task.status)


def report(state: State, command: Report) -> Settled | Refused:
    """Keep the newest progress, if there is room for it."""
    if len(command.progress) > PAYLOAD_BYTES_MAX:
        return _too_large("progress", command.task_id, len(command.progress))
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    if not leasing.is_current(task, command.lease_token):
        return leasing.lost(task, command.lease_token)

    run = lifecycle.run_of(state, task)
    if (run.progress, run.progress_content_type) == (command.progress, command.content_type):
        return Settled(task.id, task.status, is_duplicate=True)
    grown = sizes.blob_bytes(command.progress) - sizes.blob_bytes(run.progress)
    if grown > 0 and not room.is_left(state, grown):
        return Refused(
            Refusal.CLUSTER_FULL,
            f"task {task.id}: no room for {len(command.progress):,} bytes of progress; "
            f"all tasks may take {state.memory_bytes_max:,} (memory_bytes_max)",
        )
    state.bytes_used += grown
    run.progress = command.progress
    run.progress_content_type = command.content_type
    state.happened("progress", task, worker_id=run.worker_id, attempt=run.attempts + 1)
    return Settled(task.id, task.status)


def _too_large(what: str, task_id: str, size: int) -> Refused:
    return Refused(
        Refusal.TOO_LARGE,
        f"the {what} of task {task_id} has {size:,} bytes, the limit is {PAYLOAD_BYTES_MAX:,}",
    )


def _open_run(task: Task, token: int) -> Run | None:
    """The run whose outcome under *token* may still be accepted, if there is one."""
    run = task.run
    if run is None:
        return None
    is_current = run.lease_token == token and task.status is PROCESSING
    return run if is_current or run.late_token == token else None


def _was_accepted(task: Task, token: int) -> bool:
    """Whether the outcome under *token* was: then this is a repeat, whose answer was lost."""
    return task.run is not None and task.run.accepted_token == token


def _end_run(state: State, task: Task, run: Run) -> str | None:
    """Accept the run's token for the outcome that follows; returns the worker, if not lost."""
    run.accepted_token = run.lease_token
    if task.status is not PROCESSING:
        return None
    worker = leasing.take_back(state, task)
    worker.tasks_processed += 1
    return worker.id
