"""Positions of events as clients carry them: opaque text, the same on every node.

Versioned, so that a later one may say more: what a client kept is then still told apart.
"""

from __future__ import annotations

import re

from cluster.core.model import Position
from gateway import checks

_VERSION = "1"
_PATTERN = re.compile(rf"{_VERSION}-([0-9a-f]{{1,15}})-([0-9a-f]{{1,8}})", re.ASCII)


def written(position: Position) -> str:
    """The position as it stands in an event's `id:`."""
    return f"{_VERSION}-{position.index:x}-{position.offset:x}"


def parse(text: str) -> Position | None:
    """The position that `written` wrote, or None if it did not."""
    found = _PATTERN.fullmatch(text)
    return None if found is None else Position(int(found[1], 16), int(found[2], 16))


def _read(value: object) -> Position:
    if isinstance(value, str) and (position := parse(value)) is not None:
        return position
    raise checks.refused("must be the position of an event, as its `id:` said")


check = checks.Check(_read, {"type": "string", "pattern": f"^{_PATTERN.pattern}$"})
