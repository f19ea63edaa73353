"""How long things took, counted in buckets: cheap to add to, whole to read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

BOUNDS_SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class Distribution:
    """Durations of one kind of thing. One thread at a time adds to it; any may read."""

    __slots__ = ("_counts", "sum_seconds")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.sum_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one that took so long."""
        self._counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def up_to(self) -> Iterator[tuple[float, int]]:
        """How many took at most so long, for each bound; the last one is infinite."""
        total = 0
        for bound, count in zip((*BOUNDS_SECONDS, float("inf")), self._counts, strict=True):
            total += count
            yield bound, total
