"""Answers about queues, dead letters and operations: frozen copies of what is there."""

from __future__ import annotations

from itertools import islice

from cluster.core import views
from cluster.core.listing import Wanted
from cluster.core.operations import Operation
from cluster.core.queries import EXAMINED_MAX, TaskView
from cluster.core.queue_queries import (
    DeadPage,
    GetOperation,
    GetQueue,
    ListDead,
    ListQueues,
    OperationView,
    QueuePage,
    QueueView,
)
from cluster.core.queues import Queue
from cluster.core.ready import PLACES_PER_MS
from cluster.core.state import State


def get_queue(state: State, query: GetQueue) -> QueueView | None:
    """One queue."""
    queue = state.space(query.namespace).queues.by_name.get(query.queue)
    return None if queue is None else _queue(queue)


def list_queues(state: State, query: ListQueues) -> QueuePage:
    """A page of the queues. Its cursor is the name of the last one on it."""
    following = state.space(query.namespace).queues.after(query.cursor or "")
    page = [_queue(queue) for queue in islice(following, query.limit)]
    is_more = next(following, None) is not None
    return QueuePage(tuple(page), page[-1].name if is_more else None)


def list_dead(state: State, query: ListDead) -> DeadPage:
    """A page of the dead letters that match. Its cursor is the turn of the last one looked at."""
    dead = state.space(query.namespace).dead
    wanted = Wanted(queue=query.queue, type=query.type)
    following = dead.after(query.cursor or 0)
    found: list[TaskView] = []
    turn = 0
    for task in islice(following, EXAMINED_MAX):
        turn = task.turn
        if wanted.matches(task):
            found.append(views.task_view(state, task))
        if len(found) >= query.limit:
            break
    is_more = next(following, None) is not None
    total = dead.count(queue=query.queue, type_=query.type)
    return DeadPage(tuple(found), total, turn if is_more else None)


def get_operation(state: State, query: GetOperation) -> OperationView | None:
    """One operation."""
    operation = state.operations.find(query.namespace, query.operation_id)
    return None if operation is None else _operation(operation)


def _queue(queue: Queue) -> QueueView:
    place = queue.oldest_place()
    return QueueView(
        name=queue.name,
        is_paused=queue.is_paused,
        by_status=tuple(queue.by_status.items()),
        pending_since_ms=None if place is None else place // PLACES_PER_MS,
    )


def _operation(operation: Operation) -> OperationView:
    return OperationView(
        id=operation.id,
        kind=operation.kind,
        queue=operation.queue,
        type=operation.type,
        done=operation.done,
        total=operation.total,
        is_finished=operation.finished_ms is not None,
    )
