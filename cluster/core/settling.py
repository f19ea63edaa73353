"""How a run ends, and what it says meanwhile: the commands that carry a lease token."""

from __future__ import annotations

from cluster.core import leasing, lifecycle, retrying, sizes
from cluster.core.commands import Complete, Fail, Refused, Release, Report, Settled
from cluster.core.model import COMPLETED, PROCESSING, Task
from cluster.core.state import State


def complete(state: State, command: Complete) -> Settled | Refused:
    """Accept the result, unless a newer lease has superseded the token."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    token = command.lease_token
    if task.status is COMPLETED and _was_accepted(task, token):
        return Settled(task.id, task.status, is_duplicate=True)
    if not _is_open(task, token):
        return leasing.lost(task, token)

    run = lifecycle.run_of(state, task)
    worker_id = _end_run(state, task, token)
    state.bytes_used += sizes.blob_bytes(command.result) - sizes.text_bytes(run.error)
    run.result = command.result
    run.result_content_type = command.content_type
    run.error = None
    lifecycle.finish(state, task, COMPLETED, worker_id=worker_id, attempt=run.attempts + 1)
    return Settled(task.id, task.status, is_duplicate=False)


def fail(state: State, command: Fail) -> Settled | Refused:
    """Count the failure, unless a newer lease has superseded the token."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    token = command.lease_token
    if task.status is not COMPLETED and _was_accepted(task, token):
        return Settled(task.id, task.status, is_duplicate=True)
    if not _is_open(task, token):
        return leasing.lost(task, token)

    worker_id = _end_run(state, task, token)
    retrying.fail_attempt(state, task, command.error, may_retry=command.retry, worker_id=worker_id)
    return Settled(task.id, task.status, is_duplicate=False)


def release(state: State, command: Release) -> Settled | Refused:
    """Hand the task back to its old place; one that was to be cancelled is cancelled."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    if not leasing.is_current(task, command.lease_token):
        return leasing.lost(task, command.lease_token)

    lifecycle.run_of(state, task).killed = 0
    leasing.give_back(state, task)
    return Settled(task.id, task.status, is_duplicate=False)


def report(state: State, command: Report) -> Settled | Refused:
    """Keep the newest progress."""
    task = state.task(command.namespace, command.task_id)
    if task is None:
        return leasing.unknown(command.task_id)
    if not leasing.is_current(task, command.lease_token):
        return leasing.lost(task, command.lease_token)

    run = lifecycle.run_of(state, task)
    if (run.progress, run.progress_content_type) == (command.progress, command.content_type):
        return Settled(task.id, task.status, is_duplicate=True)
    state.bytes_used += sizes.blob_bytes(command.progress) - sizes.blob_bytes(run.progress)
    run.progress = command.progress
    run.progress_content_type = command.content_type
    state.happened("progress", task, worker_id=run.worker_id, attempt=run.attempts + 1)
    return Settled(task.id, task.status, is_duplicate=False)


def _is_open(task: Task, token: int) -> bool:
    """Whether an outcome under *token* may still be accepted."""
    return leasing.is_current(task, token) or (
        task.run is not None and task.run.late_token == token
    )


def _was_accepted(task: Task, token: int) -> bool:
    """Whether the outcome under *token* was: then this is a repeat, whose answer was lost."""
    return task.run is not None and task.run.accepted_token == token


def _end_run(state: State, task: Task, token: int) -> str | None:
    """Accept *token* for the outcome that follows; returns the worker, unless it was lost."""
    lifecycle.run_of(state, task).accepted_token = token
    if task.status is not PROCESSING:
        return None
    worker = leasing.take_back(state, task)
    worker.tasks_processed += 1
    return worker.id
