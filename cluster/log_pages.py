"""Pages of the log for a person's eyes: what was applied here, decoded, payloads and secrets cut.

Cutting a page out is quick and done on the loop; to decode one takes a while, and needs no loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster import codec
from cluster.describing import describe
from cluster.errors import EntriesGone
from cluster.raft import membership
from cluster.raft.log import PLACEHOLDER, REGULAR, Log
from cluster.raft.membership import CONFIGURATION
from cluster.raft.segments import Entry

ENTRIES_MAX = 1_000  # A page's.
BYTES_MAX = 4 * 1024 * 1024  # Of a page's entries: at least one is on it, however large.
COMMANDS_MAX = 2_000  # A page's, each task of a submission counted as one.


class EntryView(NamedTuple):
    """An entry of the log. Its times are the machine's alone: a member's or the engine's has none.

    An entry of more commands than a page may hold ends with `{"op": "more", "count": n}`.
    """

    index: int  # type: ignore[assignment]  # Its place in the log; hides tuple.index.
    term: int
    cluster_time_ms: int | None
    wall_time_ms: int | None
    commands: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RawPage:
    """Entries as they are in the log, and from where to where this node has them."""

    entries: Sequence[Entry]
    is_tail: bool  # Asked for as the newest: then it is the oldest that find no room.
    first: int
    last: int

    def views(self) -> tuple[EntryView, ...]:
        """The entries that find room on the page, decoded. Takes up to some hundred milliseconds.

        Raises:
            UnsupportedVersion, WireError: an entry is none that this program wrote.
        """
        if not self.is_tail:
            return tuple(_within_bounds(self.entries))
        return tuple(reversed([*_within_bounds(reversed(self.entries))]))


def cut_out(log: Log, *, from_index: int | None, limit: int, applied_index: int) -> RawPage:
    """The entries from *from_index* on, as far as they were applied; without it the newest.

    Raises:
        EntriesGone: the log begins after *from_index*.
    """
    limit = min(limit, ENTRIES_MAX)
    first, last = _span(log, applied_index)
    if from_index is not None and from_index < first:
        raise EntriesGone(
            f"entry {from_index} is no longer in the log, which begins at {first}", first
        )
    start = max(first, last - limit + 1) if from_index is None else from_index
    end = min(start + limit, last + 1)
    entries = log[start - log.first_index : end - log.first_index] if start < end else []
    return RawPage(entries, from_index is None, first, last)


def _span(log: Log, applied_index: int) -> tuple[int, int]:
    """The first and the last entry that can be shown; the last is before the first if none can."""
    if not len(log):
        return 1, 0
    # What a snapshot holds has only its place left in the log.
    first = log.first_index + (log[0][0] == PLACEHOLDER)
    return first, max(first - 1, min(log.last_index, applied_index))


def _within_bounds(entries: Iterable[Entry]) -> Iterable[EntryView]:
    size = count = 0
    for entry in entries:
        view = _view(entry)
        size += len(entry[0])
        is_first = count == 0
        count += sum(map(_weight, view.commands))
        if not is_first and (size > BYTES_MAX or count > COMMANDS_MAX):
            return
        yield view


def _view(entry: Entry) -> EntryView:
    content, index, term = entry
    if content[:1] != REGULAR:
        return EntryView(index, term, None, None, (_of_the_cluster(content),))
    described = describe(codec.unpack_entry(content[1:]))
    commands = tuple(_bounded(described["commands"]))
    times = described["cluster_time_ms"], described["wall_time_ms"]
    return EntryView(index, term, *times, commands)


def _bounded(commands: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    room = COMMANDS_MAX
    left_out = 0
    for command in commands:
        weight = _weight(command)
        if room <= 0:
            left_out += weight
            continue
        if weight > room:
            left_out += weight - room
            yield {**command, "tasks": command["tasks"][:room]}
        else:
            yield command
        room -= weight
    if left_out:
        yield {"op": "more", "count": left_out}


def _weight(command: dict[str, Any]) -> int:
    return max(1, len(command.get("tasks", ())))


def _of_the_cluster(content: bytes) -> dict[str, Any]:
    """What is not the machine's: who the members are from here on, or a new leader's first word."""
    if content[:1] != CONFIGURATION:
        return {"op": "no_op"}
    members = membership.unpack(content).members
    return {
        "op": "configure",
        "members": [{"id": member.id, "raft": member.raft} for member in members],
    }
