"""What a replica's callers ask for and are given: how fresh a read is, and where an answer is from.

Data alone: nothing here knows how an answer comes about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

R = TypeVar("R")
A = TypeVar("A")


class Consistency(StrEnum):
    """How fresh a read must be."""

    LINEARIZABLE = "linearizable"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Committed(Generic[R]):
    """A reply, and the log index and term of the entry that carried the command."""

    reply: R
    index: int
    term: int


@dataclass(frozen=True, slots=True)
class Answered(Generic[A]):
    """An answer, the index that it reflects, and how long ago this node last heard its leader."""

    value: A
    index: int
    term: int
    staleness_seconds: float  # 0 on a leader, infinity when no leader was ever heard.
