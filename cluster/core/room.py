"""How much room the tasks take, and how much there is for more.

A leader's `memory_bytes_max` is parted in eighths. Six are for what has not ended: beyond them
submissions are refused. Beyond seven for all together, what ended first is evicted, so that an
eighth at least holds the newest results. The last one is for what is always taken: leases, results,
errors, workers.
"""

from __future__ import annotations

from cluster.core import sizes
from cluster.core.model import Task
from cluster.core.state import State


def count_in(state: State, task: Task) -> None:
    """Count a task that was taken in, with what it brings of what tasks share."""
    size = sizes.task_bytes(task)
    shared = state.kinds.hold(task.kind)
    task.kind = shared.kind
    if shared.tasks == 1:
        size += sizes.kind_bytes(task.kind)
    task.created.tasks += 1
    if task.created.tasks == 1:
        size += sizes.MOMENT_BYTES
    state.bytes_used += size


def count_out(state: State, task: Task) -> None:
    """Count a task that was removed out, with what went with it as its last."""
    size = sizes.task_bytes(task)
    if state.kinds.let_go(task.kind):
        size += sizes.kind_bytes(task.kind)
    task.created.tasks -= 1
    if not task.created.tasks:
        size += sizes.MOMENT_BYTES
    state.bytes_used -= size


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
        + sum(map(sizes.kind_bytes, dict.fromkeys(task.kind for task in tasks)))
        + sizes.MOMENT_BYTES * len(moments)
        + sizes.KEY_BYTES * len(state.keys)
    )
