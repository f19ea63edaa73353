"""Whether what is committed could be undone: who lacks it must not be able to win an election.

That is what Raft proves of a committed entry (§5.4.3), judged at the moment it could first be
wrong: when a leader's commit index grows, and when a log loses its end. A node that is down counts
with the log that it had; it can come back with no more than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cluster.raft.engine import Engine
from cluster.raft.log import Log


class _Seen(NamedTuple):
    """A node after its last turn."""

    engine: Engine
    end: tuple[int, int]  # The index and term of its last entry.
    committed: int  # By itself, as a leader.


class Outvoting:
    """What each node's log and commit index were after its last turn."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def moved(self, name: str, engine: Engine, applied: tuple[int, int]) -> str | None:
        """Look at *name* after a turn; *applied* is the newest entry, by index and term, that
        anyone has applied.

        Returns:
            What could now be undone, by whom; None is right.
        """
        _, last_index, last_term = engine.log[-1]
        commit = engine.commit_index if engine.is_leader else 0
        before = self._seen.get(name)
        self._seen[name] = _Seen(engine, (last_index, last_term), commit)
        if before is None:
            return None
        if engine is not before.engine or _term_at(engine.log, before.end[0]) != before.end[1]:
            return self._undone(*applied)
        term = _term_at(engine.log, commit)
        if commit > before.committed and term is not None:
            return self._undone(commit, term)
        return None

    def _undone(self, index: int, term: int) -> str | None:
        engines = {name: seen.engine for name, seen in self._seen.items()}
        for name, engine in engines.items():
            if _lacks(engine.log, index, term) and _can_win(engine, engines):
                return f"{name} lacks entry {index} of term {term}, and could lead without it"
        return None


def _lacks(log: Log, index: int, term: int) -> bool:
    return index >= log[0][1] and _term_at(log, index) != term


def _term_at(log: Log, index: int) -> int | None:
    """The term of an entry; None if the log does not hold it (any more)."""
    first = log[0][1]
    return log[index - first][2] if first <= index <= log[-1][1] else None


def _can_win(candidate: Engine, engines: Mapping[str, Engine]) -> bool:
    """Whether enough voters have no newer log than *candidate*, by the members that it knows."""
    if not candidate.is_member:
        return False
    known = candidate.configuration
    voters = [
        name
        for name, engine in engines.items()
        if known.counts(name, engine.incarnation) and _end(engine.log) <= _end(candidate.log)
    ]
    return len(voters) >= known.votes_needed


def _end(log: Log) -> tuple[int, int]:
    """What a voter compares (Raft, §5.4.1)."""
    return log[-1][2], log[-1][1]
