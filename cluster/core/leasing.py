"""Leases: a task in a worker's hands, under a token that fences all earlier ones.

Tokens come from one counter that only grows. A token dies when its lease goes back: released, not
named in a heartbeat, timed out, its worker gone. A lost worker's token lives on until the task is
leased anew, because the worker may only have been slow and the work may be done.
"""

from __future__ import annotations

from cluster.core import lifecycle
from cluster.core.commands import Refusal, Refused
from cluster.core.model import Lease, Task, TaskStatus, Worker
from cluster.core.state import State


def grant(state: State, task: Task, worker: Worker) -> None:
    """Put a pending task into the hands of a worker that has room."""
    state.newest_token = token = state.newest_token + 1
    task.worker_id = worker.id
    task.lease_token = token
    task.leased_at_ms = state.cluster_time_ms
    task.started_at_ms = state.wall_time_ms
    task.deliveries += 1
    task.progress = None
    lifecycle.move(state, task, TaskStatus.PROCESSING)
    if task.policy.timeout_ms is not None:
        state.timeouts.add((state.cluster_time_ms + task.policy.timeout_ms, task.number, task))

    worker.leases[token] = task.id
    worker.newest_token = token
    state.crews.seat(worker, worker.room - 1)
    state.happened("leased", task, worker_id=worker.id, attempt=task.attempts + 1)


def take_back(state: State, task: Task) -> Worker:
    """End the lease of a running task and return the worker that held it.

    The task still reads `processing`: the caller moves it on. A worker with a standing offer has
    room for another.
    """
    assert task.worker_id is not None, "a running task has a worker"
    assert task.lease_token is not None, "a running task has a token"
    worker = state.spaces[task.namespace].workers[task.worker_id]
    del worker.leases[task.lease_token]
    if task.policy.timeout_ms is not None:
        assert task.leased_at_ms is not None, "a running task was leased once"
        state.timeouts.remove((task.leased_at_ms + task.policy.timeout_ms, task.number, task))
    state.crews.seat(worker, room_of(worker) if worker.is_standing else worker.room)
    return worker


def give_back(state: State, task: Task, *, why: str | None = None) -> None:
    """Put a running task back in its old place, as if it had not been handed over.

    One that was to be cancelled is cancelled. The event says *why*, unless the worker asked for it.
    """
    worker = take_back(state, task)
    if task.cancel_requested:
        lifecycle.finish(state, task, TaskStatus.CANCELLED, worker_id=worker.id)
        return
    task.worker_id = None
    task.started_at_ms = None
    lifecycle.move(state, task, TaskStatus.PENDING)
    state.happened("released", task, worker_id=worker.id, error=why)


def room_of(worker: Worker) -> int:
    """How many more tasks the newest offer allows, were it stated now."""
    free = worker.slots - len(worker.leases)
    if worker.is_standing:
        free = min(free, worker.asked - len(worker.leases))
    else:
        free = min(free, worker.asked)
    return max(0, free)


def held_by(state: State, worker: Worker, *, above: int = 0) -> tuple[Lease, ...]:
    """The leases of *worker* with tokens above *above*, in the order they were given."""
    tasks = state.spaces[worker.namespace].tasks
    return tuple(
        lease_of(tasks[task_id], token) for token, task_id in worker.leases.items() if token > above
    )


def lease_of(task: Task, token: int) -> Lease:
    """What the worker needs to run *task*."""
    return Lease(
        task.id,
        token,
        task.type,
        task.queue,
        task.payload,
        task.content_type,
        task.attempts + 1,
        task.policy.timeout_ms,
        task.meta,
        task.traceparent,
        task.priority,
        task.cancel_requested,
    )


def is_current(task: Task, token: int) -> bool:
    """Whether *task* runs under this very token."""
    return task.lease_token == token and task.status is TaskStatus.PROCESSING


def lost(task: Task, token: int) -> Refused:
    """The refusal of a token that no longer, or never, stood for *task*."""
    if task.lease_token is None or token > task.lease_token:
        detail = f"lease {token} on task {task.id} was never given"
    elif token < task.lease_token:
        detail = f"lease {token} on task {task.id} was superseded by lease {task.lease_token}"
    else:
        detail = f"lease {token} on task {task.id} has ended: the task is {task.status}"
    return Refused(Refusal.LEASE_LOST, detail)


def unknown(task_id: str) -> Refused:
    """The refusal of a task that is not there."""
    return Refused(
        Refusal.TASK_UNKNOWN, f"task {task_id} is not known: never submitted, or removed since"
    )
