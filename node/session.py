"""A worker's session, sans I/O: what it holds, what it may take, what it must stop.

Pure state: no socket, no clock, no task. `node.worker` carries its answers out, over whatever wire.
A lease is given up only when the cluster says that it is lost, never by a clock of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto


class Hold(Enum):
    """Where a lease in our hands stands."""

    RUNNING = auto()
    REPORTING = auto()  # Its run is over; the outcome is on its way and must not be lost.
    LOST = auto()  # The cluster took it back; its run has yet to stop, and no outcome counts.


class Session:
    """One worker's leases and slots, across as many registrations as it takes."""

    def __init__(self, *, slots: int) -> None:
        self.slots = slots
        self.is_draining = False
        self._holds: dict[int, Hold] = {}  # Lease token -> where it stands.
        self._tokens_by_task: dict[str, int] = {}  # Not those of lost leases.

    @property
    def room(self) -> int:
        """How many more tasks to ask for. A lost run keeps its slot until it has stopped."""
        return 0 if self.is_draining else max(0, self.slots - len(self._holds))

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits to be reported."""
        return not self._holds

    @property
    def tokens(self) -> tuple[int, ...]:
        """The leases that a heartbeat names."""
        # A snapshot first: the heartbeat's thread reads while the worker's loop changes it.
        return tuple(token for token, hold in list(self._holds.items()) if hold is not Hold.LOST)

    def take(self, token: int, task_id: str) -> bool:
        """Take a lease into our hands. Returns whether to run it: not one that was given twice."""
        if token in self._holds:
            return False
        self._holds[token] = Hold.RUNNING
        self._tokens_by_task[task_id] = token
        return True

    def cancel(self, task_ids: Iterable[str]) -> tuple[int, ...]:
        """Return the leases whose runs to stop; their outcomes are still reported."""
        tokens = (self._tokens_by_task.get(task_id) for task_id in task_ids)
        return tuple(
            token for token in tokens if token is not None and self._holds[token] is Hold.RUNNING
        )

    def lose(self, tokens: Iterable[int]) -> tuple[int, ...]:
        """Note leases that the cluster took back, and return those whose runs to stop.

        One that is being reported is left alone: the answer to the report says what became of it.
        """
        lost = tuple(token for token in tokens if self._holds.get(token) is Hold.RUNNING)
        for token in lost:
            self._holds[token] = Hold.LOST
        return lost

    def end(self) -> tuple[int, ...]:
        """Note that the registration ended, every lease with it; return whose runs to stop."""
        return self.lose(tuple(self._holds))

    def finish(self, token: int) -> bool:
        """Note that a run is over. Returns whether its outcome is to be reported."""
        if self._holds[token] is Hold.LOST:
            return False
        self._holds[token] = Hold.REPORTING
        return True

    def settle(self, token: int, task_id: str) -> None:
        """Let go of a lease: its outcome was answered, or no longer counts."""
        del self._holds[token]
        if self._tokens_by_task.get(task_id) == token:
            del self._tokens_by_task[task_id]

    def drain(self) -> None:
        """Take nothing more."""
        self.is_draining = True
