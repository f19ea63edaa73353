"""How many there are of what, kept as things happen: never a scan."""

from __future__ import annotations

from cluster.core.model import TaskStatus

UNBOUNDED_BYTES = (1 << 63) - 1  # As long as no leader has said how much there may be.


class Tally:
    """One namespace's numbers. What was submitted is what there is and what was removed."""

    __slots__ = ("by_status", "completed_ever", "removed_ever", "submitted_ever", "workers_active")

    def __init__(self) -> None:
        self.by_status: dict[TaskStatus, int] = dict.fromkeys(TaskStatus, 0)
        self.submitted_ever = 0
        self.removed_ever = 0
        self.completed_ever = 0
        self.workers_active = 0

    def removed(self, status: TaskStatus) -> None:
        """Count a task that was removed."""
        self.by_status[status] -= 1
        self.removed_ever += 1
