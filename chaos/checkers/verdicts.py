"""A verdict: what a checker says of a run. `held`, `broken` with the smallest witness it found, or
`inconclusive`, which is never a pass. Their numbers are the exit statuses of `quorate chaos`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

WITNESSES_MAX = 10


class Status(IntEnum):
    """How a verdict ends."""

    HELD = 0
    BROKEN = 1
    INCONCLUSIVE = 2

    @property
    def word(self) -> str:
        """As people read it."""
        return self.name.lower()


class Verdict(NamedTuple):
    """One checker's word on one run."""

    status: Status
    checked: int  # How many things were looked at: a promise held of nothing is none.
    why: str = ""
    witness: tuple[Any, ...] = ()  # The rows or events that show it, as few as possible.


def held(checked: int, why: str = "") -> Verdict:
    """Nothing contradicts the promise."""
    return Verdict(Status.HELD, checked, why)


def broken(checked: int, why: str, *witness: Any) -> Verdict:
    """The promise does not hold, as *witness* shows."""
    return Verdict(Status.BROKEN, checked, why, witness[:WITNESSES_MAX])


def inconclusive(checked: int, why: str, *witness: Any) -> Verdict:
    """Whether the promise holds cannot be said of this run."""
    return Verdict(Status.INCONCLUSIVE, checked, why, witness[:WITNESSES_MAX])


def worst(verdicts: Iterable[Verdict]) -> Status:
    """The verdict on a whole run: one broken promise breaks it, one doubt leaves it in doubt."""
    found = {verdict.status for verdict in verdicts}
    for status in (Status.BROKEN, Status.INCONCLUSIVE):
        if status in found:
            return status
    return Status.HELD if found else Status.INCONCLUSIVE
