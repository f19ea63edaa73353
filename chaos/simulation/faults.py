"""Faults as data: what goes wrong, and when. A schedule can be printed, shrunk and run again.

What undoes a fault is an entry of its own. A target is a node's name, or `leader`: whoever leads
at that moment.
"""

from __future__ import annotations

from typing import NamedTuple

LEADER = "leader"

Argument = str | float


class Fault(NamedTuple):
    """At this moment, this happens."""

    at: float  # Seconds.
    kind: str  # A name in `injection.KINDS`.
    args: tuple[Argument, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"{self.at:.3f} s", self.kind, *map(_shown, self.args)])


def _shown(argument: Argument) -> str:
    return argument if isinstance(argument, str) else f"{argument:g}"
