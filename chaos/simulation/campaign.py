"""Many seeds: over several processes, until there are enough of them or the time is up."""

from __future__ import annotations

import gc
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from chaos.simulation.catalogue import bugs
from chaos.simulation.plan import Plan, draw
from chaos.simulation.simulation import Report, Verdict, simulate

# A seed leaves no objects behind, but a heap in pieces that do not go back to the system: half a
# gigabyte an hour. So a process is replaced now and then.
SEEDS_A_PROCESS = 100


class Terms(NamedTuple):
    """On what terms seeds are run; what is None, each seed draws."""

    nodes: int | None = None
    theme: str | None = None
    bug: str | None = None

    def plan(self, seed: int) -> Plan:
        """The plan of *seed* on these terms."""
        return draw(seed, nodes=self.nodes, theme=self.theme)


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
    terms: Terms,
    *,
    jobs: int,
    is_time_up: Callable[[], bool],
) -> Iterator[Report]:
    """Run seed after seed, *jobs* at a time; they come in the order of their seeds."""
    numbers = count(first_seed) if seeds is None else range(first_seed, first_seed + seeds)
    if jobs == 1 and seeds is not None and seeds <= SEEDS_A_PROCESS:
        for seed in numbers:
            if is_time_up():
                return
            yield _run(seed, terms)
        return
    # Started afresh rather than forked: a fork would share what the parent happened to have open.
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, maxtasksperchild=SEEDS_A_PROCESS) as pool:
        window: list[Any] = []
        for seed in numbers:
            if is_time_up():
                break
            window.append(pool.apply_async(_run, (seed, terms)))
            if len(window) >= 2 * jobs:
                yield window.pop(0).get()
        for waiting in window:
            yield waiting.get()


def _run(seed: int, terms: Terms) -> Report:
    report = simulate(terms.plan(seed), bug=terms.bug)
    gc.collect()  # What a world leaves behind is cycles: its dead processes, above all.
    return report


def seeds_until_caught(bug: str, *, first_seed: int, seeds_max: int) -> dict[str, Any]:
    """How many seeds of its theme it takes to see *bug*, and by which rule; None if it was not.

    A seed that breaks without the bug as well says nothing, and does not count as seeing it.
    """
    terms = Terms(theme=bugs()[bug].theme, bug=bug)
    caught: dict[str, Any] = {"bug": bug, "theme": terms.theme}
    for number in range(seeds_max):
        seed = first_seed + number
        report = _run(seed, terms)
        is_broken = report.verdict is Verdict.BROKEN
        if is_broken and _run(seed, terms._replace(bug=None)).verdict is not Verdict.BROKEN:
            return caught | {"seeds": number + 1, "seed": seed, "rule": report.violations[0].rule}
    return caught | {"seeds": None, "seed": None, "rule": None}
