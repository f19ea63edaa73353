"""Evidence: all that a run left behind, from which the checkers judge. Plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.history import Row
from cluster.core.model import Event


class Entry(NamedTuple):
    """One entry of a node's log."""

    index: int  # type: ignore[assignment]  # Hides tuple.index.
    term: int
    command: bytes | None  # None: Raft's own.


class Sight(NamedTuple):
    """What a node said of itself on `/cluster`, and when."""

    at: float
    node: str
    role: str
    term: int
    commit_index: int
    applied_index: int
    state_hash: str
    hears: tuple[str, ...] = ()  # The other members that it has heard within the last second.


class Fault(NamedTuple):
    """Something that was done to the cluster, and the signs that it bit."""

    name: str
    target: str
    injected: float
    healed: float
    bites: Mapping[str, int]  # What was counted, such as packets dropped; each must be above 0.


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run. What a run could not gather stays empty, and checkers that need it say so."""

    rows: Sequence[Row] = ()
    events: Sequence[Event] = ()  # Without a gap, from the first on.
    logs: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    sights: Sequence[Sight] = ()
    faults: Sequence[Fault] = ()
    begun_anew: Sequence[
        tuple[str, float]
    ] = ()  # Nodes that came back with an empty disk, and when.
    final: Mapping[str, str | None] | None = None  # Task -> status once all was drained.
    healed: float = 0.0  # When the last fault was undone.
    nodes: Sequence[str] = ()
    floor: int = 1  # So many requests must have been answered, or the run says nothing.
