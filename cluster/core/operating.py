"""What operations do: purge a queue, put dead letters back; some tasks with every entry.

An operation means the tasks that were there when it was asked for, and each is looked at once: a
task that waits when the purge comes to it is removed, one that runs stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from cluster.core import lifecycle, steering
from cluster.core.commands import Refusal, Refused
from cluster.core.listing import Wanted
from cluster.core.model import Task, TaskStatus
from cluster.core.operations import OPEN_MAX, Operation, OperationKind
from cluster.core.queue_commands import PurgeQueue, RetryDead, Started
from cluster.core.state import State

LOOKS_A_UNIT_MAX = 20  # Looking at a task that is not meant costs a fraction of moving one.

_WAITING = (
    *(TaskStatus.SCHEDULED, TaskStatus.BLOCKED),
    *(TaskStatus.PENDING, TaskStatus.RETRYING),
)


def purge_queue(state: State, command: PurgeQueue) -> Started | Refused:
    """Begin to remove what waits in a queue, the newest first: workers take from the other end."""
    queue = state.space(command.namespace).queues.by_name.get(command.queue)
    total = 0 if queue is None else sum(queue.by_status[status] for status in _WAITING)
    return _start(
        state,
        Operation(
            id=command.operation_id,
            namespace=command.namespace,
            kind=OperationKind.PURGE,
            queue=command.queue,
            type=None,
            cursor=state.newest_number + 1,
            end=0,
            total=total,
        ),
    )


def retry_dead(state: State, command: RetryDead) -> Started | Refused:
    """Begin to put dead letters back, those that died first before the others."""
    dead = state.space(command.namespace).dead
    return _start(
        state,
        Operation(
            id=command.operation_id,
            namespace=command.namespace,
            kind=OperationKind.RETRY_DEAD,
            queue=command.queue,
            type=command.type,
            cursor=0,
            end=state.newest_place,
            total=dead.count(queue=command.queue, type_=command.type),
        ),
    )


def _start(state: State, operation: Operation) -> Started | Refused:
    """Take *operation* in, unless it is known already.

    Refused: OPERATION_CONFLICT when its id is another's; OPERATIONS_FULL when too many are open.
    """
    known = state.operations.find(operation.namespace, operation.id)
    if known is not None:
        if _meaning(known) == _meaning(operation):
            return Started(known.id, is_duplicate=True)
        return Refused(
            Refusal.OPERATION_CONFLICT,
            f"operation {known.id} is known as another {known.kind}: use another id",
        )
    if len(state.operations.open) >= OPEN_MAX:
        return Refused(
            Refusal.OPERATIONS_FULL,
            f"{OPEN_MAX} operations are not finished yet, which is the limit: try again later",
        )
    state.operations.add(operation)
    return Started(operation.id, is_duplicate=False)


def _meaning(operation: Operation) -> tuple[object, ...]:
    return operation.kind, operation.queue, operation.type


def advance(state: State) -> bool:
    """Let the first open operation do something to one task, or look at some that are not meant."""
    operation = state.operations.next_open()
    if operation is None:
        return False
    way = _WAYS[operation.kind]
    for looks, (cursor, task) in enumerate(way.looks(state, operation), start=1):
        operation.cursor = cursor
        if task is not None:
            operation.done += 1
            operation.total = max(operation.total, operation.done)  # What ran then may wait now.
            way.act(state, task)  # Which changes what is looked through: so this is the end of it.
            return True
        if looks == LOOKS_A_UNIT_MAX:
            return True
    state.operations.finish(operation, state.now.cluster_ms)
    return True


class _Way(NamedTuple):
    """How operations of one kind go about it."""

    # Each look is at something that may be meant: where to go on behind it, and the task if it is.
    looks: Callable[[State, Operation], Iterator[tuple[int, Task | None]]]
    act: Callable[[State, Task], None]


def _waiting(state: State, operation: Operation) -> Iterator[tuple[int, Task | None]]:
    listing = state.space(operation.namespace).listing
    for number, task in listing.before(operation.cursor, Wanted(queue=operation.queue)):
        is_meant = task is not None and task.status in _WAITING
        yield number, task if is_meant else None


def _dead(state: State, operation: Operation) -> Iterator[tuple[int, Task | None]]:
    wanted = Wanted(queue=operation.queue, type=operation.type)
    for task in state.space(operation.namespace).dead.after(operation.cursor):
        if task.turn > operation.end:
            return
        yield task.turn, task if wanted.matches(task) else None


_WAYS: Mapping[OperationKind, _Way] = MappingProxyType(
    {
        OperationKind.PURGE: _Way(_waiting, lifecycle.remove),
        OperationKind.RETRY_DEAD: _Way(_dead, steering.begin_anew),
    }
)
