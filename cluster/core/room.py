"""How much room the tasks take, and how much there is for more.

A leader's `memory_bytes_max` is parted in eighths. Six are for what has not ended: beyond them
submissions are refused. Beyond seven for all together, what ended first is evicted, so that an
eighth at least holds the newest results. The last one is for what is always taken: leases, results,
errors, workers.
"""

from __future__ import annotations

from collections.abc import Iterable

from cluster.core import sizes
from cluster.core.commands import Refusal, Refused
from cluster.core.model import Kind, NewTask, SharedKind, Task
from cluster.core.ready import by_turn
from cluster.core.state import Space, State

_PARTS = 8  # Of `memory_bytes_max`.
_PARTS_UNENDED = 6  # That tasks which have not ended may take.
_PARTS_KEPT = 7  # Above which tasks that have ended are evicted.


def claim(state: State, tasks: Iterable[NewTask], *, keys: int) -> Refused | None:
    """Count what these new tasks and so many new keys take, or say why there is no room for it.

    What a kind or an entry takes that had no task before comes on top, in `share`.
    """
    need = sizes.KEY_BYTES * keys
    for new in tasks:
        need += sizes.new_task_bytes(new)
    most = state.memory_bytes_max
    unended = state.bytes_used - state.bytes_ended
    left = min(most // _PARTS * _PARTS_UNENDED - unended, most - state.bytes_used)
    if need <= left or not need:
        state.bytes_used += need
        return None
    return Refused(
        Refusal.CLUSTER_FULL,
        f"tasks to come need {need:,} bytes, and {max(0, left):,} are left of the {most:,} that "
        "all tasks may take (memory_bytes_max): try again when some have ended",
    )


def is_left(state: State, size: int) -> bool:
    """Whether something that has been taken in may grow by so many bytes."""
    return state.bytes_used + size <= state.memory_bytes_max


def next_evicted(state: State) -> Task | None:
    """The task to remove because there is too much: what ended first, dead letters last."""
    if state.bytes_used <= state.memory_bytes_max // _PARTS * _PARTS_KEPT:
        return None
    for first in (_first_rested, _first_dead):
        tasks = [task for task in map(first, state.spaces.values()) if task is not None]
        if tasks:
            return min(tasks, key=by_turn)
    return None


def _first_rested(space: Space) -> Task | None:
    return space.rested.first


def _first_dead(space: Space) -> Task | None:
    return space.dead.first()


def share(state: State, plain: Kind, count: int) -> SharedKind:
    """The kind of so many tasks that come in now, which are counted for all that they share."""
    kind = state.kinds.find(plain) or state.open_kind(plain)
    if not kind.tasks:
        state.bytes_used += sizes.kind_bytes(plain)
    kind.tasks += count
    now = state.now
    if not now.tasks:
        state.bytes_used += sizes.MOMENT_BYTES
    now.tasks += count
    return kind


def count_out(state: State, task: Task) -> None:
    """Count a task that was removed out, with what went with it as its last."""
    size = sizes.task_bytes(task)
    if task.status.is_final:
        state.bytes_ended -= size
    kind = task.kind
    kind.tasks -= 1
    if not kind.tasks:
        state.kinds.remove(kind)
        size += sizes.kind_bytes(kind.plain)
    task.created.tasks -= 1
    if not task.created.tasks:
        size += sizes.MOMENT_BYTES
    state.bytes_used -= size


def bytes_ended(state: State) -> int:
    """What `state.bytes_ended` must be, counted anew."""
    tasks = [task for space in state.spaces.values() for task in space.tasks.values()]
    return sum([sizes.task_bytes(task) for task in tasks if task.status.is_final])


def bytes_used(state: State) -> int:
    """What `state.bytes_used` must be, counted anew from all that is kept.

    Events, operations and paused queues are left out: they are bounded by themselves, in a few MiB.
    """
    tasks = [task for space in state.spaces.values() for task in space.tasks.values()]
    workers = [worker for space in state.spaces.values() for worker in space.workers.values()]
    moments = dict.fromkeys(task.created for task in tasks)
    return (
        sum(map(sizes.task_bytes, tasks))
        + sum(map(sizes.worker_bytes, workers))
        + sum(map(sizes.kind_bytes, dict.fromkeys(task.kind.plain for task in tasks)))
        + sizes.MOMENT_BYTES * len(moments)
        + sizes.KEY_BYTES * len(state.keys)
    )
