"""What can be measured in a history: how long nobody was answered, how many were. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from chaos.history import Row, Type

FOREVER = float("inf")


class Gap(NamedTuple):
    """A time in which no write was acknowledged."""

    since: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, from {self.since:.2f} s on"


def acknowledgements(rows: Iterable[Row]) -> list[float]:
    """When each acknowledged submission was, earliest first."""
    return sorted(row.returned for row in rows if row.f == "submit" and row.type is Type.OK)


def longest_gap(rows: Iterable[Row], since: float, until: float) -> Gap:
    """The longest time between *since* and *until* in which no submission was acknowledged."""
    within = [moment for moment in acknowledgements(rows) if since < moment < until]
    gaps = [Gap(earlier, later - earlier) for earlier, later in pairwise([since, *within, until])]
    return max(gaps, key=lambda gap: gap.seconds)


def outage(rows: Iterable[Row], since: float) -> float:
    """How long it took until a submission that began after *since* was acknowledged."""
    began_since = [row for row in rows if row.invoked >= since]
    return min(acknowledgements(began_since), default=FOREVER) - since


def slowest(rows: Iterable[Row]) -> float:
    """How long the slowest answer took, of whatever kind; 0 of none."""
    return max((row.returned - row.invoked for row in rows), default=0.0)
