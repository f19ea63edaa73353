"""Outcomes: a refusal becomes a problem, and every answer says which state it reflects."""

from __future__ import annotations

import math
from typing import TypeVar

from cluster.answers import Answered, Committed, Consistency
from cluster.core.commands import Refused
from gateway.problems import of_refusal
from gateway.queries import Reading

R = TypeVar("R")
A = TypeVar("A")


def accepted(committed: Committed[R | Refused]) -> Committed[R]:
    """The reply, unless it is a refusal.

    Raises:
        Problem: with the refusal's code, and the index that it was decided at.
    """
    if isinstance(committed.reply, Refused):
        raise of_refusal(committed.reply, write_headers(committed))
    return Committed(committed.reply, committed.index, committed.term)


def write_headers(committed: Committed[R]) -> dict[str, str]:
    """Where in the log a write is: what a later read may name as `min_index`."""
    return {"Quorate-Applied-Index": str(committed.index), "Quorate-Term": str(committed.term)}


def read_headers(answered: Answered[A], reading: Reading | None = None) -> dict[str, str]:
    """Which state a read reflects and, of a stale one, how long its node has heard no leader."""
    headers = {"Quorate-Applied-Index": str(answered.index), "Quorate-Term": str(answered.term)}
    if reading is not None and reading.consistency is Consistency.STALE:
        age = answered.staleness_seconds
        headers["Quorate-Staleness"] = "inf" if math.isinf(age) else f"{round(age, 3):g}"
    return headers
