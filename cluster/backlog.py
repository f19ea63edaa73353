"""What is under way here and not yet applied, and what may still be added to it.

Bounded, so that a node whose leader, disk or processor is behind says so instead of growing: first
submissions are refused, then reads, then what settles and keeps work that has begun. Each class may
fill the bound to a line of its own, so that a flood of one never shuts out the next. Raft's own
messages are not counted and never refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from cluster.core.commands import Command, Submit
from cluster.errors import Overloaded


class Traffic(StrEnum):
    """The classes, in the order in which they are refused."""

    SUBMISSION = "submissions"
    READ = "reads"
    UPKEEP = "completions and heartbeats"  # And whatever else is neither of the above.


# Up to which share of the bound, in quarters, each may add to what is there.
_QUARTERS: Mapping[Traffic, int] = MappingProxyType(
    {Traffic.SUBMISSION: 2, Traffic.READ: 3, Traffic.UPKEEP: 4}
)


def traffic_of(command: Command[Any]) -> Traffic:
    """The class of a command that was proposed."""
    return Traffic.SUBMISSION if isinstance(command, Submit) else Traffic.UPKEEP


class Backlog:
    """Commands, reads and bytes under way. It exceeds its bound by one command at most."""

    def __init__(self, *, commands_max: int, bytes_max: int) -> None:
        self._commands_max = commands_max
        self._bytes_max = bytes_max
        self._commands = 0
        self._bytes = 0

    def check(self, traffic: Traffic) -> None:
        """Let one more of its class in.

        Raises:
            Overloaded: its line is reached. Nothing of it was or will be done.
        """
        quarters = _QUARTERS[traffic]
        if (
            self._commands * 4 >= self._commands_max * quarters
            or self._bytes * 4 >= self._bytes_max * quarters
        ):
            raise Overloaded(
                f"{self._commands} commands of {self._bytes} bytes are under way: no more "
                f"{traffic} are taken until some are done; repeat it later"
            )

    def add(self, commands: int, bytes_: int) -> None:
        """Count in what is under way from now on."""
        self._commands += commands
        self._bytes += bytes_

    def remove(self, commands: int, bytes_: int) -> None:
        """Count out what is no longer."""
        self._commands -= commands
        self._bytes -= bytes_

    def clear(self) -> None:
        """Count out everything."""
        self._commands = self._bytes = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a read in while it waits."""
        self.add(1, 0)
        try:
            yield
        finally:
            self.remove(1, 0)
