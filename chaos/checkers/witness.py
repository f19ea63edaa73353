"""Witness: the log that the nodes wrote bears out every answer that a client got.

The merged log is replayed through a machine of its own. What was acknowledged is in it once, at the
index that the client was told; what certainly failed is not, unless as a request that the machine
refused; and what returned before another began has the lower position.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chaos.checkers.evidence import Entry, Evidence
from chaos.checkers.verdicts import Verdict, broken, held, inconclusive
from chaos.history import Row, Type
from cluster import codec
from cluster.core.commands import (
    Cancel,
    Command,
    Complete,
    Fail,
    Refused,
    Release,
    Retry,
    Submit,
    Submitted,
)
from cluster.core.machine import Machine

Deed = tuple[str, str, int | None]  # The operation, the task, and the token if it has one.

_SETTLES = {Complete: "complete", Fail: "fail", Release: "release"}
_MOVES = {Cancel: "cancel", Retry: "retry"}


class Said(NamedTuple):
    """A deed in the log, and whether the machine took it."""

    index: int  # type: ignore[assignment]  # Hides tuple.index.
    is_taken: bool
    is_news: bool


def witness(evidence: Evidence) -> Verdict:
    """Every answer is borne out by the log."""
    if not evidence.logs:
        return inconclusive(0, "no node's log was read")
    merged, verdict = _merge(evidence.logs)
    if verdict is not None:
        return verdict
    said = _replay(merged)
    checked = 0
    for row in evidence.rows:
        deed = deed_of(row)
        if deed is None:
            continue
        checked += 1
        found = said.get(deed, [])
        complaint = _complaint(row, found)
        if complaint:
            return broken(checked, complaint, row, *found)
    verdict = _in_real_time(evidence.rows)
    if verdict is not None:
        return verdict
    return held(checked) if checked else inconclusive(0, "no request left a deed in the log")


def deed_of(row: Row) -> Deed | None:
    """What *row* would have put into the log, None of a read."""
    task_id = row.args.get("id")
    if task_id is None:
        return None
    if row.f in _SETTLES.values():
        return row.f, task_id, row.args["lease_token"]
    return (row.f, task_id, None) if row.f == "submit" or row.f in _MOVES.values() else None


def _complaint(row: Row, found: Sequence[Said]) -> str:
    if row.type is Type.FAIL:
        taken = [said for said in found if said.is_taken and said.is_news]
        others = row.f in _MOVES.values()  # Another request may have done the same to the task.
        return f"{row.f} failed, and is entry {taken[0].index}" if taken and not others else ""
    if row.type is Type.INFO:
        return ""
    if not any(said.is_taken for said in found):
        return f"{row.f} was acknowledged, and is in no log"
    if row.index and not any(said.is_taken and said.index <= row.index for said in found):
        return f"{row.f} was acknowledged at {row.index}, and is only in entry {found[0].index}"
    return ""


def _merge(logs: Mapping[str, Sequence[Entry]]) -> tuple[list[Entry], Verdict | None]:
    """One log of all, which agree where they overlap.

    A log may end in entries that were never committed: of two, the later term's is the one that
    was, if any.
    """
    newest: dict[int, Entry] = {}
    for log in logs.values():
        for entry in log:
            known = newest.get(entry.index)
            if known is None or entry.term > known.term:
                newest[entry.index] = entry
            elif entry.term == known.term and entry.command != known.command:
                why = f"two logs differ at entry {entry.index} of term {entry.term}"
                return [], broken(len(newest), why, known, entry)
    merged = [newest[index] for index in sorted(newest)]
    if merged and (merged[0].index != 1 or merged[-1].index != len(merged)):
        return [], inconclusive(len(merged), "the logs do not reach from the first entry on")
    return merged, None


def _replay(merged: Sequence[Entry]) -> Mapping[Deed, list[Said]]:
    """Apply the whole log to a new machine; every deed in it, with what the machine said."""
    machine = Machine()
    said: dict[Deed, list[Said]] = defaultdict(list)
    for entry in merged:
        if entry.command is None:
            continue
        unpacked = codec.unpack_entry(entry.command)
        commands = [command for group in unpacked.groups for command in group.commands]
        applied = machine.apply_entry(
            commands,
            index=entry.index,
            term=entry.term,
            cluster_time_ms=unpacked.cluster_time_ms,
            wall_time_ms=unpacked.wall_time_ms,
        )
        for command, reply in zip(commands, applied.replies, strict=True):
            for deed, is_news in _deeds(command, reply):
                said[deed].append(Said(entry.index, not isinstance(reply, Refused), is_news))
    return said


def _deeds(command: Command[Any], reply: Any) -> Iterator[tuple[Deed, bool]]:
    if isinstance(command, Submit):
        told = reply.tasks if isinstance(reply, Submitted) else ()
        duplicates = {each.task_id for each in told if each.is_duplicate}
        for task in command.tasks:
            yield ("submit", task.id, None), task.id not in duplicates
    elif isinstance(command, Complete | Fail | Release):
        settled = (_SETTLES[type(command)], command.task_id, command.lease_token)
        yield settled, not getattr(reply, "is_duplicate", False)
    elif isinstance(command, Cancel | Retry):
        moved = (_MOVES[type(command)], command.task_id, None)
        yield moved, not getattr(reply, "is_duplicate", False)


def _in_real_time(rows: Sequence[Row]) -> Verdict | None:
    """What returned before another began does not have the higher index."""
    done = [row for row in rows if row.type is Type.OK and row.index and not row.args.get("stale")]
    done.sort(key=lambda row: row.returned)
    moments = [row.returned for row in done]
    highest: list[Row] = []
    for row in done:
        highest.append(row if not highest or row.index > highest[-1].index else highest[-1])
    for row in done:
        before = bisect_left(moments, row.invoked)
        if before and row.index < highest[before - 1].index:
            earlier = highest[before - 1]
            why = f"{row.f} at index {row.index} began after index {earlier.index} was told"
            return broken(len(done), why, earlier, row)
    return None
