"""What follows a failed attempt: another after a while, or the dead letters."""

from __future__ import annotations

from hashlib import blake2b

from cluster.core import leasing, lifecycle
from cluster.core.model import DELIVERIES_KILLED_MAX, Backoff, Task, TaskStatus
from cluster.core.state import State


def fail_attempt(
    state: State, task: Task, error: str, *, may_retry: bool, worker_id: str | None
) -> None:
    """Count a run that failed, whose lease was taken back, and decide what becomes of the task.

    A task that was to be cancelled is cancelled, and the run is not counted.
    """
    run = lifecycle.run_of(state, task)
    run.killed = 0
    if run.cancel_requested:
        lifecycle.finish(state, task, TaskStatus.CANCELLED, worker_id=worker_id, error=error)
        return
    run.attempts += 1
    if not may_retry or run.attempts >= task.kind.policy.max_attempts:
        lifecycle.finish(
            state,
            task,
            TaskStatus.FAILED,
            worker_id=worker_id,
            attempt=run.attempts,
            error=error,
        )
        return

    lifecycle.set_error(state, run, error)
    run.worker_id = None
    run.retry_at_ms = state.now.wall_ms + backoff_ms(
        task.kind.policy.backoff, task_id=task.id, attempt=run.attempts
    )
    lifecycle.move(state, task, TaskStatus.RETRYING)
    state.happened("retrying", task, worker_id=worker_id, attempt=run.attempts, error=error)


def lose_delivery(state: State, task: Task) -> None:
    """Take a running task from a worker that was lost: back to its old place, or given up.

    It costs no attempt, but a task that takes its workers with it must not do so for ever. The
    token stays good until the task is leased anew.
    """
    run = lifecycle.run_of(state, task)
    run.killed += 1
    if run.killed < DELIVERIES_KILLED_MAX or run.cancel_requested:
        token = run.lease_token
        leasing.give_back(state, task, why="worker lost")
        if task.status is TaskStatus.PENDING:
            run.late_token = token
        return
    worker = leasing.take_back(state, task)
    error = f"its worker was lost {run.killed} times in a row"
    lifecycle.finish(state, task, TaskStatus.FAILED, worker_id=worker.id, error=error)


def backoff_ms(backoff: Backoff, *, task_id: str, attempt: int) -> int:
    """How long to wait after the failed attempt of this number, counted from 1.

    Integers only, and the jitter is hashed from task and attempt: the same on every node.
    """
    ceiling = backoff.max_ms * 1_000
    delay = backoff.initial_ms * 1_000  # Thousandths, so that small steps are not rounded away.
    for _ in range(attempt - 1):
        grown = delay * backoff.multiplier_thousandths // 1_000
        if grown == delay or delay >= ceiling:
            break
        delay = grown
    delay_ms = min(delay, ceiling) // 1_000

    spread_ms = delay_ms * backoff.jitter_thousandths // 1_000
    digest = blake2b(f"{task_id}:{attempt}".encode(), digest_size=8).digest()
    return delay_ms - spread_ms + int.from_bytes(digest) % (2 * spread_ms + 1)
