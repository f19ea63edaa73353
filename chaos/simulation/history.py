"""What clients did and were told: one row an attempt, on the world's one clock.

`fail` only where it certainly did not happen; what timed out or broke off is `info`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What a client knows of an attempt."""

    OPEN = "open"  # It still waits.
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Kind(StrEnum):
    """What was attempted."""

    WRITE = "write"
    READ = "read"  # Linearizable.
    STALE = "stale"  # From this node's state, but at least at `min_index`.


@dataclass(slots=True)
class Attempt:
    """One request to one node."""

    process: str
    kind: Kind
    node: str
    asked: Any  # The command or the query.
    tag: str  # Found in the log if it was committed; empty where a command has no room for one.
    invoked: float
    min_index: int = 0
    returned: float = float("inf")
    outcome: Outcome = Outcome.OPEN
    value: Any = None
    index: int = 0
    term: int = 0


@dataclass(slots=True)
class History:
    """Every attempt, in the order of its beginning."""

    attempts: list[Attempt] = field(default_factory=list)

    def count(self, outcome: Outcome, *kinds: Kind) -> int:
        """How many attempts of these kinds (none: all) ended so."""
        return sum(
            each.outcome is outcome and (not kinds or each.kind in kinds) for each in self.attempts
        )
