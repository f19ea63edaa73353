"""Operations: what one asked for and a single entry of the log may be too short to do.

Each stands in the state, says how far it is, and is advanced by every entry's sweep until nothing
is left. Here they are kept; `operating.py` says what each of them does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

OPEN_MAX = 100  # Operations that are not finished: one more is refused.
REMEMBERED_MS = 3_600_000  # Cluster time for which a finished one can be asked about.
REMEMBERED_MAX = 1_000

OperationKey = tuple[str, str]  # Namespace and id.


class OperationKind(StrEnum):
    """What an operation does."""

    PURGE = "purge"  # Remove what waits in a queue.
    RETRY_DEAD = "retry_dead"  # Put dead letters back.


@dataclass(slots=True, eq=False)
class Operation:
    """One of them. It looks at each task once, in one direction, and `cursor` is where it is."""

    id: str
    namespace: str
    kind: OperationKind
    queue: str | None  # Only tasks of this queue.
    type: str | None  # Only tasks of this type.
    cursor: int  # The task that it looked at last, by its number (purge) or turn (retry_dead).
    end: int  # The last that it is to look at: what came later is not meant.
    total: int  # How many tasks were meant when it was asked for, or more.
    done: int = 0  # How many of them it did something to.
    finished_ms: int | None = None  # Cluster time.

    @property
    def key(self) -> OperationKey:
        """By which it is found."""
        return self.namespace, self.id


class Operations:
    """The open ones, worked off one after the other, and those that finished lately."""

    __slots__ = ("finished", "open")

    def __init__(self) -> None:
        self.open: OrderedDict[OperationKey, Operation] = OrderedDict()
        self.finished: OrderedDict[OperationKey, Operation] = OrderedDict()

    def __iter__(self) -> Iterator[Operation]:
        """All of them: first the finished ones, each part in its order."""
        yield from self.finished.values()
        yield from self.open.values()

    def find(self, namespace: str, operation_id: str) -> Operation | None:
        """The operation, if it is open or remembered."""
        key = (namespace, operation_id)
        return self.open.get(key) or self.finished.get(key)

    def add(self, operation: Operation) -> None:
        """Take one in, finished or not, as the last of its part."""
        part = self.open if operation.finished_ms is None else self.finished
        part[operation.key] = operation

    def next_open(self) -> Operation | None:
        """The one to advance."""
        return next(iter(self.open.values()), None)

    def oldest_finished(self) -> Operation | None:
        """The one to forget first."""
        return next(iter(self.finished.values()), None)

    def finish(self, operation: Operation, now_ms: int) -> None:
        """Let an open one be over; the oldest finished one is forgotten if they are too many."""
        del self.open[operation.key]
        operation.finished_ms = now_ms
        self.add(operation)
        if len(self.finished) > REMEMBERED_MAX:
            self.finished.popitem(last=False)

    def forget_due(self, now_ms: int) -> bool:
        """Forget the oldest finished one if it was remembered for long enough."""
        due_ms = self.forget_ms()
        if due_ms is None or due_ms > now_ms:
            return False
        self.finished.popitem(last=False)
        return True

    def forget_ms(self) -> int | None:
        """The cluster time at which the oldest finished one is forgotten."""
        oldest = self.oldest_finished()
        if oldest is None:
            return None
        assert oldest.finished_ms is not None, "a finished operation has an end"
        return oldest.finished_ms + REMEMBERED_MS
