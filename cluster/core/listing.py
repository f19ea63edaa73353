"""Every task of a namespace in order of submission, for whoever looks for some of them.

Tasks stand on pages by their numbers, and each page counts what is on it: who looks for a status, a
queue or a type passes over the pages that hold none, however many tasks there are. That costs a
task about as much memory as one more reference to it; an index for each filter would cost one each,
and moving tasks between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple, TypeVar

from cluster.core.model import Task, TaskStatus
from cluster.core.ordered import Ordered

PAGE_BITS = 9  # A page has room for 512 numbers.

_number = attrgetter("number")

K = TypeVar("K")


class Wanted(NamedTuple):
    """Which tasks are looked for: those that match all that is not None."""

    status: TaskStatus | None = None
    queue: str | None = None
    type: str | None = None
    worker_id: str | None = None

    def matches(self, task: Task) -> bool:
        """Whether *task* is one of them."""
        return (
            (self.status is None or task.status is self.status)
            and (self.queue is None or task.kind.queue == self.queue)
            and (self.type is None or task.kind.type == self.type)
            and (
                self.worker_id is None
                or (task.run is not None and task.run.worker_id == self.worker_id)
            )
        )


class Page:
    """The tasks of neighbouring numbers, in order, and how many there are of which sort."""

    __slots__ = ("number", "queues", "statuses", "tasks", "types")

    def __init__(self, number: int) -> None:
        self.number = number
        self.tasks: list[Task] = []
        self.statuses: dict[TaskStatus, int] = dict.fromkeys(TaskStatus, 0)
        self.queues: dict[str, int] = {}  # Neither this nor the next keeps a count of 0.
        self.types: dict[str, int] = {}

    def may_have(self, wanted: Wanted) -> bool:
        """Whether one of its tasks may match; False is certain."""
        return (
            (wanted.status is None or self.statuses[wanted.status] > 0)
            and (wanted.queue is None or wanted.queue in self.queues)
            and (wanted.type is None or wanted.type in self.types)
        )


class Listing:
    """The pages, each of which has a task."""

    __slots__ = ("_order", "_pages")

    def __init__(self) -> None:
        self._pages: dict[int, Page] = {}
        self._order: Ordered[Page] = Ordered(_number)

    def __iter__(self) -> Iterator[Task]:
        """Every task, in the order of their submission."""
        for page in self._order:
            yield from page.tasks

    def pages(self) -> Iterator[Page]:
        """Every page, in order."""
        return iter(self._order)

    def before(self, number: int, wanted: Wanted) -> Iterator[tuple[int, Task | None]]:
        """The tasks that are looked for, of numbers below *number*, the newest first.

        Each step is one look, at a task or at a whole page that has none; it yields the number
        before which to go on, and the task if it matches. Nothing may change meanwhile.
        """
        for page in self._order.before((number >> PAGE_BITS) + 1):
            if not page.may_have(wanted):
                yield page.number << PAGE_BITS, None
                continue
            tasks = page.tasks
            for place in range(bisect_left(tasks, number, key=_number) - 1, -1, -1):
                task = tasks[place]
                yield task.number, task if wanted.matches(task) else None

    def extend(self, tasks: Iterable[Task]) -> None:
        """Put in tasks in order, whose numbers are above all others'."""
        page = None
        for task in tasks:
            number = task.number >> PAGE_BITS
            if page is None or page.number != number:
                page = self._pages.get(number) or self._open(number)
            page.tasks.append(task)
            kind = task.kind
            page.statuses[task.status] += 1
            page.queues[kind.queue] = page.queues.get(kind.queue, 0) + 1
            page.types[kind.type] = page.types.get(kind.type, 0) + 1

    def _open(self, number: int) -> Page:
        page = self._pages[number] = Page(number)
        self._order.add(page)
        return page

    def moved(self, task: Task, before: TaskStatus) -> None:
        """Count *task* under the status that it has now."""
        statuses = self._pages[task.number >> PAGE_BITS].statuses
        statuses[before] -= 1
        statuses[task.status] += 1

    def drain(self) -> Iterator[None]:
        """Let everything go, a page a step."""
        yield from self._order.drain()
        while self._pages:
            self._pages.popitem()
            yield

    def remove(self, task: Task) -> None:
        """Take out a task."""
        page = self._pages[task.number >> PAGE_BITS]
        del page.tasks[bisect_left(page.tasks, task.number, key=_number)]
        if not page.tasks:
            del self._pages[page.number]
            self._order.remove(page)
            return
        page.statuses[task.status] -= 1
        _discount(page.queues, task.kind.queue)
        _discount(page.types, task.kind.type)


def _discount(counts: dict[K, int], key: K) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
