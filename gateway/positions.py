"""Positions of events as clients carry them: opaque text, the same on every node of a cluster.

Versioned, so that a later one may say more. A position bears its cluster's mark: a reader that
outlived the cluster it followed must not go on in the middle of another one's events.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cluster.core.model import Position
from cluster.core.ring import START
from gateway import checks

_VERSION = "1"
_MARK_CHARACTERS = 6
_NO_MARK = "0" * _MARK_CHARACTERS
_PATTERN = re.compile(
    rf"{_VERSION}-([0-9a-f]{{{_MARK_CHARACTERS}}})-([0-9a-f]{{1,15}})-([0-9a-f]{{1,8}})", re.ASCII
)


class Place(NamedTuple):
    """A position among the events of the cluster with that mark."""

    mark: str
    position: Position

    def is_of(self, mark: str) -> bool:
        """Whether a reader of that cluster may go on from here; every one may begin."""
        return self.mark == mark or self.position == START


def mark_of(cluster_id: str) -> str:
    """The mark of a cluster, even of one that has not formed yet."""
    return cluster_id[:_MARK_CHARACTERS] or _NO_MARK


def written(position: Position, mark: str) -> str:
    """The position as it stands in an event's `id:`."""
    return f"{_VERSION}-{mark}-{position.index:x}-{position.offset:x}"


def _read(value: object) -> Place:
    found = _PATTERN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise checks.refused("must be the position of an event, as its `id:` said")
    return Place(found[1], Position(int(found[2], 16), int(found[3], 16)))


check = checks.Check(_read, {"type": "string", "pattern": f"^{_PATTERN.pattern}$"})
