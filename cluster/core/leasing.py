"""Leases: a task in a worker's hands, under a token that fences all earlier ones.

Tokens come from one counter that only grows. A token dies when its lease goes back: released, not
named in a heartbeat, timed out, its worker gone. A lost worker's token lives on until the task is
leased anew, because the worker may only have been slow and the work may be done.
"""

from __future__ import annotations

import itertools

from cluster.core import lifecycle, sizes
from cluster.core.commands import Refusal, Refused
from cluster.core.model import (
    NO_EXTRAS,
    PENDING,
    PROCESSING,
    Lease,
    Task,
    TaskStatus,
    Worker,
    due_key,
)
from cluster.core.state import State

PROGRESS_KEPT_FROM = 2  # The version of the rules since which a run finds what the last one told.


def grant(state: State, task: Task, worker: Worker) -> None:
    """Put a pending task into the hands of a worker that has room."""
    state.newest_token = token = state.newest_token + 1
    run = task.run or lifecycle.run_of(state, task)
    run.worker_id = worker.id
    run.lease_token = token
    run.leased_at_ms = state.now.cluster_ms
    run.started_at_ms = state.now.wall_ms
    run.deliveries += 1
    if run.progress is not None and state.machine_version < PROGRESS_KEPT_FROM:
        state.bytes_used -= sizes.blob_bytes(run.progress)
        run.progress = run.progress_content_type = None
    lifecycle.move(state, task, PROCESSING)
    if task.kind.policy.timeout_ms is not None:
        set_timeout(state, task, task.kind.policy.timeout_ms)
    worker.leases[token] = task.id
    state.bytes_used += sizes.LEASE_BYTES
    worker.newest_token = token
    state.crews.seat(worker, worker.room - 1)
    state.happened("leased", task, worker.id, run.attempts + 1)


def set_timeout(state: State, task: Task, timeout_ms: int) -> None:
    """See to it that a running task is ended when it has run too long."""
    run = task.run
    assert run is not None, "a running task has a run"
    assert run.leased_at_ms is not None, "a running task was leased once"
    run.timeout = due_key(run.leased_at_ms + timeout_ms, task.number)
    state.timeouts.add(task)


def take_back(state: State, task: Task) -> Worker:
    """End the lease of a running task and return the worker that held it.

    The task still reads `processing`: the caller moves it on. A worker with a standing offer has
    room for another.
    """
    run = task.run
    assert run is not None, "a running task has a run"
    assert run.worker_id is not None, "a running task has a worker"
    assert run.lease_token is not None, "a running task has a token"
    worker = task.kind.space.workers[run.worker_id]
    del worker.leases[run.lease_token]
    state.bytes_used -= sizes.LEASE_BYTES
    if run.timeout is not None:
        state.timeouts.remove(task)
        run.timeout = None
    state.crews.seat(worker, room_of(worker) if worker.is_standing else worker.room)
    return worker


def give_back(state: State, task: Task, *, why: str | None = None) -> None:
    """Put a running task back in its old place, as if it had not been handed over.

    One that was to be cancelled is cancelled. The event says *why*, unless the worker asked for it.
    """
    worker = take_back(state, task)
    run = lifecycle.run_of(state, task)
    if run.cancel_requested:
        lifecycle.finish(state, task, TaskStatus.CANCELLED, worker_id=worker.id)
        return
    run.worker_id = None
    run.started_at_ms = None
    lifecycle.move(state, task, PENDING)
    state.happened("released", task, worker_id=worker.id, error=why)


def room_of(worker: Worker) -> int:
    """How many more tasks the newest offer allows, were it stated now."""
    held = len(worker.leases)
    if worker.is_standing:
        room = min(worker.slots, worker.asked) - held
    else:
        room = min(worker.slots - held, worker.asked)
    return max(0, room)


def held_by(state: State, worker: Worker, *, above: int = 0) -> tuple[Lease, ...]:
    """The leases of *worker* with tokens above *above*, in the order they were given."""
    tasks = state.spaces[worker.namespace].tasks
    return tuple(lease_of(tasks[task_id], token) for token, task_id in newer(worker, above))


def newer(worker: Worker, above: int) -> list[tuple[int, str]]:
    """Token and task of the leases of *worker* with tokens above *above*; looks at no others."""
    found = list(itertools.takewhile(lambda held: held[0] > above, reversed(worker.leases.items())))
    found.reverse()
    return found


def lease_of(task: Task, token: int) -> Lease:
    """What the worker needs to run *task*."""
    kind = task.kind
    extras = task.extras or NO_EXTRAS
    run = task.run
    assert run is not None, "a task in a worker's hands has a run"
    return Lease(
        task.id,
        token,
        kind.type,
        kind.queue,
        task.payload,
        kind.content_type,
        run.attempts + 1,
        kind.policy.timeout_ms,
        extras.meta,
        extras.traceparent,
        kind.priority,
        run.cancel_requested,
    )


def is_current(task: Task, token: int) -> bool:
    """Whether *task* runs under this very token."""
    run = task.run
    return run is not None and run.lease_token == token and task.status is PROCESSING


def lost(task: Task, token: int) -> Refused:
    """The refusal of a token that no longer, or never, stood for *task*."""
    newest = task.run.lease_token if task.run else None
    if newest is None or token > newest:
        detail = f"lease {token} on task {task.id} was never given"
    elif token < newest:
        detail = f"lease {token} on task {task.id} was superseded by lease {newest}"
    else:
        detail = f"lease {token} on task {task.id} has ended: the task is {task.status}"
    return Refused(Refusal.LEASE_LOST, detail)


def unknown(task_id: str) -> Refused:
    """The refusal of a task that is not there."""
    return Refused(
        Refusal.TASK_UNKNOWN, f"task {task_id} is not known: never submitted, or removed since"
    )
