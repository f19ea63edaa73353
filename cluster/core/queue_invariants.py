"""What must hold of queues, dead letters, operations and keys; `invariants.py` asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cluster.core import idempotency, operations, pausing
from cluster.core.model import Task, TaskStatus
from cluster.core.queues import Queue
from cluster.core.ready import by_turn
from cluster.core.state import Space, State


def check(state: State) -> Iterator[str]:
    """Every broken invariant, in a sentence."""
    for name, space in state.spaces.items():
        yield from _queues(name, space)
        yield from _dead(name, space)
    yield from _markets(state)
    yield from _operations(state)
    yield from _keys(state)


def _queues(namespace: str, space: Space) -> Iterator[str]:
    """The queues that stand are those that have tasks or are paused, each with its numbers."""
    queues = space.queues
    tasks: dict[str, list[Task]] = {}
    for task in space.listing:
        tasks.setdefault(task.kind.queue, []).append(task)
    paused = [queue.name for queue in queues.by_name.values() if queue.is_paused]
    if sorted(queues.by_name) != sorted(dict.fromkeys([*tasks, *paused])):
        yield f"{namespace}: the queues are not those that have tasks or are paused"
    if [queue.name for queue in queues] != sorted(queues.by_name):
        yield f"{namespace}: the queues are not listed by name"
    if queues.paused != len(paused) or len(paused) > pausing.PAUSED_MAX:
        yield f"{namespace}: {queues.paused} queues counted as paused, {len(paused)} are"
    for name, queue in queues.by_name.items():
        yield from _queue(queue, name, tasks.get(name, []))


def _queue(queue: Queue, name: str, tasks: list[Task]) -> Iterator[str]:
    if queue.name != name:
        yield f"queue {queue.name} is kept as {name}"
    counted = Counter(task.status for task in tasks)
    for status, number in queue.by_status.items():
        if counted[status] != number:
            yield f"queue {name}: {number} tasks counted as {status}, {counted[status]} there"
    if queue.size != len(tasks):
        yield f"queue {name}: {queue.size} tasks counted, {len(tasks)} there"
    pending = [task for task in tasks if task.status is TaskStatus.PENDING]
    waiting = [task for level in queue.pending.values() for task in level]
    if sorted(waiting, key=by_turn) != sorted(pending, key=by_turn):
        yield f"queue {name}: its pending tasks are not those that wait"
    for priority, level in queue.pending.items():
        turns = [task.turn for task in level if task.kind.priority == priority]
        if len(turns) != len(level) or turns != sorted(turns):
            yield f"queue {name}: its tasks of priority {priority} do not wait in order"


def _markets(state: State) -> Iterator[str]:
    """A market is paused with its queue."""
    for (namespace, name, _), market in state.ready.markets.items():
        queue = state.space(namespace).queues.by_name.get(name)
        if market.is_paused != (queue is not None and queue.is_paused):
            yield f"market {market.key} is paused or not, and its queue is otherwise"


def _dead(namespace: str, space: Space) -> Iterator[str]:
    """The dead letters are the failed tasks, in order, and counted."""
    failed = [task for task in space.listing if task.status is TaskStatus.FAILED]
    if list(space.dead) != sorted(failed, key=by_turn):
        yield f"{namespace}: the dead letters are not the failed tasks, in order"
    pairs = Counter((task.kind.queue, task.kind.type) for task in failed)
    for (queue, type_), number in pairs.items():
        counted = space.dead.count(queue=queue, type_=type_)
        if counted != number:
            yield f"{namespace}: {counted} dead letters counted of {queue}, {type_}; {number} there"
    if space.dead.count() != len(failed):
        yield f"{namespace}: {space.dead.count()} dead letters counted, {len(failed)} there"


def _operations(state: State) -> Iterator[str]:
    """Open and finished operations stand where they belong, and no more than are allowed."""
    known = state.operations
    for part, is_finished in ((known.open, False), (known.finished, True)):
        for key, operation in part.items():
            if operation.key != key:
                yield f"operation {operation.id} is kept as {key}"
            if (operation.finished_ms is not None) != is_finished:
                yield f"operation {operation.id} finished at {operation.finished_ms}"
            if operation.done > operation.total:
                yield f"operation {operation.id} did {operation.done} of {operation.total}"
    finished = [operation.finished_ms or 0 for operation in known.finished.values()]
    if finished != sorted(finished):
        yield "the operations did not finish in order"
    if len(known.open) > operations.OPEN_MAX or len(finished) > operations.REMEMBERED_MAX:
        yield f"{len(known.open)} operations are open, {len(finished)} are remembered"
    if any(key in known.finished for key in known.open):
        yield "an operation is both open and finished"


def _keys(state: State) -> Iterator[str]:
    """Every key is found where it belongs, and the oldest is forgotten first."""
    moments = []
    for remembered in state.keys:
        moments.append(remembered.until_ms)
        if state.keys.find(remembered.slot) is not remembered:
            yield f"the key of task {remembered.task_id} cannot be found"
    if moments != sorted(moments):
        yield "the keys are not in order of their ends"
    if len(moments) > idempotency.KEYS_MAX:
        yield f"{len(moments)} keys are remembered"
