"""A namespace's dead letters: the tasks that failed for good, in the order in which they did.

How many there are of a type, of a queue, and of a type in a queue is counted as they come and go.
Nothing here decides which task dies or is tried again.
"""

from __future__ import annotations

from collections.abc import Iterator

from cluster.core.model import Task
from cluster.core.ordered import Ordered
from cluster.core.ready import by_turn

_Key = tuple[str | None, str | None]  # Queue and type, None standing for all.


class DeadLetters:
    """Every failed task, by turn: when it fails it takes its place behind all others."""

    __slots__ = ("_counts", "_tasks")

    def __init__(self) -> None:
        self._tasks: Ordered[Task] = Ordered(by_turn)
        self._counts: dict[_Key, int] = {}  # What is not there is none.

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def add(self, task: Task) -> None:
        """Take in a task, which has its turn."""
        self._tasks.add(task)
        for key in _keys(task):
            self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, task: Task) -> None:
        """Let a task go, which still has the turn that it came with."""
        self._tasks.remove(task)
        for key in _keys(task):
            left = self._counts.pop(key) - 1
            if left:
                self._counts[key] = left

    def drain(self) -> Iterator[None]:
        """Let everything go, some hundreds of tasks a step."""
        return self._tasks.drain()

    def count(self, *, queue: str | None = None, type_: str | None = None) -> int:
        """How many there are, of a queue or a type if one is named."""
        return self._counts.get((queue, type_), 0)

    def first(self) -> Task | None:
        """The one that has been dead for longest."""
        return self._tasks.first

    def after(self, turn: int) -> Iterator[Task]:
        """Those with later turns than *turn*, in order. Nothing may change meanwhile."""
        return self._tasks.after(turn)


def _keys(task: Task) -> tuple[_Key, ...]:
    queue, type_ = task.kind.queue, task.kind.type
    return (None, None), (queue, None), (None, type_), (queue, type_)
