"""How long something took, many million times: counted, so that neither memory nor an end is long.

A list of ten minutes' waits takes seconds to sort, and a node that makes its own load would stand
still meanwhile: its followers would elect another leader, and rightly so.
"""

from __future__ import annotations

import math
from collections import Counter

BUCKETS_PER_E = 1_000  # A wait is known to a thousandth of its length.


class Waits:
    """Counts of waits of about the same length."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self._buckets[round(math.log(max(seconds, 1e-9)) * BUCKETS_PER_E)] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """The wait that so many percent did not exceed; None if there was none."""
        passed = 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            if passed >= self.count * percent / 100:
                return math.exp(bucket / BUCKETS_PER_E) * 1e3
        return None
