"""A namespace's queues: how much of what is in each, who has waited longest, which are paused.

A queue stands while it has tasks or is paused. Nothing here decides what becomes of a task:
`lifecycle.py` keeps these numbers up as tasks move.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from cluster.core.model import Task, TaskStatus
from cluster.core.ordered import Ordered
from cluster.core.ready import by_turn, turn_of

_by_name = attrgetter("name")


class Queue:
    """What is known of one queue without looking at its tasks."""

    __slots__ = ("by_status", "is_paused", "name", "pending", "size")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_paused = False  # Whether its tasks wait though a worker has room for them.
        self.by_status: dict[TaskStatus, int] = dict.fromkeys(TaskStatus, 0)
        self.size = 0  # How many tasks there are in all.
        # By priority, of which each is first in, first out: most tasks come and go at an end.
        self.pending: dict[int, Ordered[Task]] = {}

    def removed(self, status: TaskStatus) -> None:
        """Count a task that was removed."""
        self.size -= 1
        self.by_status[status] -= 1

    def level(self, priority: int) -> Ordered[Task]:
        """Where the pending tasks of a priority stand, each as long as it has its turn."""
        level = self.pending.get(priority)
        if level is None:
            level = self.pending[priority] = Ordered(by_turn)
        return level

    def oldest_place(self) -> int | None:
        """The place of the task that became pending before all others."""
        oldest = None
        for priority, level in self.pending.items():
            task = level.first
            if task is not None:
                place = task.turn - turn_of(0, priority)
                oldest = place if oldest is None else min(oldest, place)
        return oldest


class Queues:
    """The queues that stand, found by name and listed in the order of their names."""

    __slots__ = ("_listing", "by_name", "paused")

    def __init__(self) -> None:
        self.by_name: dict[str, Queue] = {}
        self.paused = 0  # How many are.
        self._listing: Ordered[Queue] = Ordered(_by_name)

    def __iter__(self) -> Iterator[Queue]:
        return iter(self._listing)

    def open(self, name: str) -> Queue:
        """The queue, which stands from now on."""
        queue = self.by_name.get(name)
        if queue is None:
            queue = self.by_name[name] = Queue(name)
            self._listing.add(queue)
        return queue

    def set_paused(self, queue: Queue, *, is_paused: bool) -> None:
        """Change a queue from one to the other."""
        queue.is_paused = is_paused
        self.paused += 1 if is_paused else -1

    def close_if_idle(self, queue: Queue) -> None:
        """Forget a queue that has no tasks, unless it is paused."""
        if queue.is_paused or queue.size:
            return
        del self.by_name[queue.name]
        self._listing.remove(queue)

    def after(self, name: str) -> Iterator[Queue]:
        """The queues whose names come after *name*, in order. Nothing may change meanwhile."""
        return self._listing.after(name)
