"""Many seeds: over several processes, until there are enough of them or the time is up."""

from __future__ import annotations

import gc
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from chaos.simulation.plan import draw
from chaos.simulation.simulation import Report, Verdict, simulate


@dataclass(slots=True)
class Tally:
    """What a campaign has come to."""

    seeds: int = 0
    held: int = 0
    broken: list[int] = field(default_factory=list)
    inconclusive: list[int] = field(default_factory=list)
    seconds: float = 0.0  # Simulated.
    events: int = 0
    entries: int = 0
    terms: int = 0
    acknowledged: int = 0
    happened: Counter[str] = field(default_factory=Counter)  # What the faults came to, by name.

    def add(self, report: Report) -> None:
        """Count one more seed."""
        self.seeds += 1
        self.seconds += report.seconds
        self.events += report.events
        self.entries += report.entries
        self.terms += report.terms
        self.acknowledged += report.attempts.get("ok", 0)
        self.happened.update(report.happened)
        if report.verdict is Verdict.HELD:
            self.held += 1
        elif report.verdict is Verdict.BROKEN:
            self.broken.append(report.plan.seed)
        else:
            self.inconclusive.append(report.plan.seed)

    def as_json(self, *, wall_seconds: float) -> dict[str, Any]:
        """Plain values, and how fast it was."""
        return {
            "seeds": self.seeds,
            "held": self.held,
            "broken": self.broken,
            "inconclusive": self.inconclusive,
            "simulated_hours": round(self.seconds / 3_600, 3),
            "wall_seconds": round(wall_seconds, 1),
            "simulated_hours_per_wall_hour": round(self.seconds / max(wall_seconds, 1e-9), 1),
            "events": self.events,
            "entries": self.entries,
            "terms": self.terms,
            "acknowledged": self.acknowledged,
            "happened": dict(sorted(self.happened.items())),
        }


def reports(
    first_seed: int,
    seeds: int | None,
    *,
    nodes: int | None,
    bug: str | None,
    jobs: int,
    is_time_up: Callable[[], bool],
) -> Iterator[Report]:
    """Run seed after seed, *jobs* at a time; they come in the order of their seeds."""
    numbers = count(first_seed) if seeds is None else range(first_seed, first_seed + seeds)
    tasks = ((seed, nodes, bug) for seed in numbers)
    if jobs == 1:
        for task in tasks:
            if is_time_up():
                return
            yield _run(task)
        return
    # Started afresh rather than forked: a fork would share what the parent happened to have open.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        window: list[Any] = []
        for task in tasks:
            if is_time_up():
                break
            window.append(pool.apply_async(_run, (task,)))
            if len(window) >= 2 * jobs:
                yield window.pop(0).get()
        for waiting in window:
            yield waiting.get()


def _run(task: tuple[int, int | None, str | None]) -> Report:
    seed, nodes, bug = task
    report = simulate(draw(seed, nodes=nodes), bug=bug)
    gc.collect()  # What a world leaves behind is cycles: its dead processes, above all.
    return report


def seeds_until_caught(bug: str, *, first_seed: int, seeds_max: int) -> dict[str, Any]:
    """How many seeds it takes to see *bug*, and by which rule; None if it was not seen.

    A seed that breaks without the bug as well says nothing, and is told apart.
    """
    for number in range(seeds_max):
        report = _run((first_seed + number, None, bug))
        if report.verdict is Verdict.BROKEN:
            seed = report.plan.seed
            is_planted = _run((seed, None, None)).verdict is not Verdict.BROKEN
            rule = report.violations[0].rule if is_planted else "breaks without it, too"
            return {"bug": bug, "seeds": number + 1, "seed": seed, "rule": rule}
    return {"bug": bug, "seeds": None, "seed": None, "rule": None}
