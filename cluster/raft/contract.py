"""What goes into an engine and comes out of it: settings, messages, and the hooks of its owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from cluster.raft.log import Log
from cluster.raft.membership import Configuration

Message = dict[str, Any]

# What a leader says of entries, which is true whether or not its own disk has them already.
AHEAD = frozenset({"append_entries", "committed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. A follower that hears nothing for a random time between the two elects a leader."""

    election_min: float = 0.5
    election_max: float = 1.0
    heartbeat: float = 0.1
    leader_fallback: float = 1.0  # Without a majority's answers for this long, a leader stops.

    @classmethod
    def of(cls, election_seconds: float) -> Self:
        """All of them in the same proportions, from the shortest election timeout."""
        usual = cls()
        scale = election_seconds / usual.election_min
        return cls(
            election_min=election_seconds,
            election_max=usual.election_max * scale,
            heartbeat=usual.heartbeat * scale,
            leader_fallback=usual.leader_fallback * scale,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a member goes on: its newest snapshot's place, and the members known by then."""

    configuration: Configuration
    index: int = 1  # pysyncobj's logs all begin with the same first entry.


class EngineHooks(Protocol):
    """What the engine asks of its owner. All are called inside `receive` or `tick`."""

    def send(self, peer: str, message: Message, *, is_urgent: bool) -> None:
        """Queue *message* for *peer* behind the log, or beside it if it is of those `AHEAD`.

        An urgent one claims nothing of the log and goes at once.
        """

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        """Apply one committed entry; None is one that is not the machine's. Must not raise."""

    def is_congested(self, peer: str) -> bool:
        """Whether *peer* takes less than it is given."""

    def needs_snapshot(self, peer: str) -> None:
        """Tell that *peer* lacks entries that the log no longer has. Repeated while it does."""

    def configured(self, configuration: Configuration) -> None:
        """Tell that *configuration* is in effect from now on, until another is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Everything that an engine is given."""

    node_id: str
    incarnation: str
    start: Start
    log: Log
    hooks: EngineHooks
    timing: Timing
    clock: Callable[[], float]  # Seconds, never backward.
    random: Callable[[], float]  # In [0, 1).
