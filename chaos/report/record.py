"""A run as its page tells it: plain data, from wherever it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaos.checkers.evidence import Evidence
from chaos.checkers.verdicts import Status, Verdict
from chaos.scene import Expectation, Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that a page says. Times are seconds since the run's clock was at 0."""

    name: str
    question: str
    asked: str = ""  # What the learner was asked to predict.
    prediction: str = ""  # What they said; empty if nothing.
    ran_on: str = ""  # How many nodes and workers, and where.
    command: str = ""  # What runs it again.
    status: Status
    why: str
    onward: str = ""  # What to do next, in a sentence.
    onward_command: str = ""
    promises: Sequence[str] = ()  # Which verdicts count.
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    expectations: Sequence[Expectation] = ()
    story: Sequence[Told] = ()
    evidence: Evidence = field(default_factory=Evidence)
    logs: Mapping[str, str] = field(default_factory=dict)  # What each process wrote.
    began: float = 0.0  # The calendar's second, since 1970, at which the clock was at 0.
