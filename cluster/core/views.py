"""Answers to what can be asked: frozen copies of what is there."""

from __future__ import annotations

from itertools import islice

from cluster.core import leasing
from cluster.core.listing import Wanted
from cluster.core.model import NO_EXTRAS, Lease, Run, Task, TaskStatus, Worker
from cluster.core.queries import (
    EXAMINED_MAX,
    Count,
    Counts,
    GetTask,
    GetWorker,
    ListTasks,
    ListWorkers,
    Progress,
    TaskPage,
    TaskView,
    WorkerLeases,
    WorkerPage,
    WorkerProgress,
    WorkerView,
)
from cluster.core.state import State

_NO_RUN = Run()  # Of a task that has only waited.


def get_task(state: State, query: GetTask) -> TaskView | None:
    """One task."""
    task = state.task(query.namespace, query.task_id)
    return None if task is None else task_view(state, task)


def list_tasks(state: State, query: ListTasks) -> TaskPage:
    """A page of the tasks that match. Its cursor is the number before which the next goes on."""
    bound = state.newest_number + 1 if query.cursor is None else query.cursor
    wanted = Wanted(query.status, query.queue, query.type, query.worker_id)
    looks = state.space(query.namespace).listing.before(bound, wanted)
    found: list[TaskView] = []
    for number, task in islice(looks, EXAMINED_MAX):
        if task is not None:
            if len(found) >= query.limit:
                return TaskPage(tuple(found), bound)
            found.append(task_view(state, task))
        bound = number
    is_more = next(looks, None) is not None
    return TaskPage(tuple(found), bound if is_more else None)


def get_worker(state: State, query: GetWorker) -> WorkerView | None:
    """One worker."""
    worker = state.space(query.namespace).workers.get(query.worker_id)
    return None if worker is None else _worker(worker)


def list_workers(state: State, query: ListWorkers) -> WorkerPage:
    """A page of the workers. Its cursor is the number of the last one on it."""
    bound = query.cursor or 0
    following = state.space(query.namespace).roster.after(bound)
    found: list[WorkerView] = []
    examined = 0
    for worker in following:
        bound = worker.number
        found.append(_worker(worker))
        examined += 1 + len(worker.leases)  # A page names the tasks that they run as well.
        if len(found) >= query.limit or examined >= EXAMINED_MAX:
            break
    is_more = next(following, None) is not None
    return WorkerPage(tuple(found), bound if is_more else None)


def worker_leases(state: State, query: WorkerLeases) -> tuple[Lease, ...]:
    """What a worker holds; nothing when it is not known."""
    worker = state.space(query.namespace).workers.get(query.worker_id)
    return () if worker is None else leasing.held_by(state, worker, above=query.above)


def worker_progress(state: State, query: WorkerProgress) -> tuple[Progress, ...]:
    """How far the tasks of a worker are; nothing when it is not known."""
    space = state.space(query.namespace)
    worker = space.workers.get(query.worker_id)
    if worker is None:
        return ()
    found = []
    for token, task_id in leasing.newer(worker, query.above):
        run = space.tasks[task_id].run
        if run is not None and run.progress is not None:
            assert run.progress_content_type is not None, "progress has a content type"
            found.append(Progress(token, run.progress, run.progress_content_type))
    return tuple(found)


def count(state: State, query: Count) -> Counts:
    """The namespace's totals."""
    tally = state.space(query.namespace).tally
    return Counts(
        by_status=tuple(tally.by_status.items()),
        completed_ever=tally.completed_ever,
        workers_active=tally.workers_active,
        submitted_ever=tally.submitted_ever,
    )


def task_view(state: State, task: Task) -> TaskView:
    """The task as it is."""
    kind = task.kind
    extras = task.extras or NO_EXTRAS
    run = task.run or _NO_RUN
    return TaskView(
        id=task.id,
        type=kind.type,
        payload=task.payload,
        content_type=kind.content_type,
        queue=kind.queue,
        priority=kind.priority,
        policy=kind.policy,
        requires=kind.requires,
        meta=extras.meta,
        traceparent=extras.traceparent,
        submitted_by=extras.submitted_by,
        status=task.status,
        created_at_ms=task.created.wall_ms,
        run_at_ms=task.run_at_ms,
        started_at_ms=run.started_at_ms,
        finished_at_ms=run.finished_at_ms,
        retry_at_ms=run.retry_at_ms,
        attempts=run.attempts,
        deliveries=run.deliveries,
        worker_id=run.worker_id,
        lease_token=run.lease_token,
        progress=run.progress,
        progress_content_type=run.progress_content_type,
        result=run.result,
        result_content_type=run.result_content_type,
        error=run.error,
        cancel_requested=run.cancel_requested,
        waiting_for=None if _is_served(state, task) else "worker",
    )


def _is_served(state: State, task: Task) -> bool:
    """Whether *task* has, or does not need, an active worker that would take it."""
    if task.status is not TaskStatus.PENDING:
        return True
    market = state.ready.market_of(task)
    assert market is not None, "a pending task has a market"
    return any(crew.serves(task.kind.type) for crew in market.crews)


def _worker(worker: Worker) -> WorkerView:
    return WorkerView(
        id=worker.id,
        name=worker.name,
        status=worker.status,
        queues=worker.queues,
        tags=worker.tags,
        types=worker.types,
        slots=worker.slots,
        current_tasks=tuple(worker.leases.values()),
        tasks_processed=worker.tasks_processed,
        started_at_ms=worker.started_at_ms,
        last_heartbeat_ms=worker.last_heartbeat_ms,
        node=worker.node,
        epoch=worker.epoch,
    )
