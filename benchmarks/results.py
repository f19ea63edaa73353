"""What a measurement of the replica is asked for, and what it gives: figures beside their bars."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure. The bars are meant for the defaults."""

    repeats: int = 5
    appends: int = 500
    singles: int = 1_000
    outstanding: int = 30_000
    batches: int = 40
    million_batches: int = 1_000  # Of a thousand tasks each.
    kills: int = 30
    rounds: int = 5  # Of freezing, and of isolating, a leader.
    away_seconds: float = 20.0
    idle_seconds: float = 10.0
    minutes: float = 10.0
    stock_singles: int = 40
    stock_outstanding: int = 20_000
    profile: Path | None = None  # Where profiles go; profiled figures are not comparable.


QUICK = Effort(
    repeats=1,
    appends=50,
    singles=20,
    outstanding=500,
    batches=2,
    million_batches=2,
    kills=1,
    rounds=1,
    away_seconds=1.0,
    idle_seconds=0.5,
    minutes=0.02,
    stock_singles=3,
    stock_outstanding=200,
)


@dataclass(slots=True, kw_only=True)
class Result:
    """One key's figure, what it must not exceed or fall short of, and what stands behind it."""

    value: float
    bar: float | None = None
    is_floor: bool = False  # The bar is the least, not the most.
    details: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """As JSON shows it. Without a bar nothing is claimed."""
        shown: dict[str, Any] = {"value": round(self.value, 4)}
        if self.bar is not None:
            is_met = self.value >= self.bar if self.is_floor else self.value <= self.bar
            shown |= {"bar": round(self.bar, 4), "met": is_met}
        return shown | self.details


Results = dict[str, Result]


class Measurement(NamedTuple):
    """What fills in some keys, for one machine."""

    keys: tuple[str, ...]
    run: Callable[[str, Effort], Awaitable[Results]]


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def median_of(loads: list[dict[str, Any]], name: str, bar: float | None = None) -> Result:
    middle = sorted(loads, key=lambda load: load[name])[len(loads) // 2]
    details = {
        "repeats": rounded(load[name] for load in loads),
        "p50_ms": round(middle["p50_ms"], 3),
        "p99_ms": round(middle["p99_ms"], 3),
        "cpu_seconds_per_1000": middle["cpu_seconds_per_1000"],
        "errors": middle["errors"],
    }
    return Result(value=median(load[name] for load in loads), bar=bar, details=details)


def worst_of(took: list[float], bar: float) -> Result:
    details = {"median": round(median(took), 4), "rounds": rounded(took)}
    return Result(value=max(took), bar=bar, details=details)


def rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 4) for value in values]
