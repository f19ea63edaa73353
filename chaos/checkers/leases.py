"""What must hold of leases: fencing tokens, one holder at a time, and whose turn it was.

The rule of fencing is Kleppmann's ("How to do distributed locking", 2016): a token that only grows,
and nothing accepted under an older one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from chaos.checkers.evidence import Evidence
from chaos.checkers.verdicts import Verdict, broken, held, inconclusive
from chaos.history import Type
from cluster.core.model import PRIORITY_NORMAL, Event
from cluster.core.ready import AGEING_MS

_ENDS_LEASE = frozenset(
    {"completed", "failed", "cancelled", "expired", "retrying", "released", "removed"}
)
_SETTLES = frozenset({"complete", "fail", "release"})


def fence(evidence: Evidence) -> Verdict:
    """Tokens only grow, and a task is settled under its newest alone, as whoever did was told."""
    newest = 0
    token_of: dict[str, Event] = {}
    completed: dict[str, Event] = {}
    ended: dict[tuple[str, int], list[Event]] = defaultdict(list)
    leases = 0
    for event in evidence.events:
        token, task_id = event.lease_token, event.task_id
        if token is None or task_id is None:
            continue
        if event.kind in _ENDS_LEASE:
            ended[task_id, event.index].append(event)
        if event.kind == "leased":
            leases += 1
            if token <= newest:
                return broken(leases, f"lease {token} was given after lease {newest}", event)
            newest = token
            token_of[task_id] = event
        elif event.kind == "completed":
            completed[task_id] = event
            leased = token_of.get(task_id)
            if leased is not None and leased.lease_token != token:
                why = f"task {task_id} was completed under {token}, not {leased.lease_token}"
                return broken(leases, why, leased, event)
    for row in evidence.rows:
        if row.f not in _SETTLES or row.type is not Type.OK or row.value.get("duplicate"):
            continue
        task_id, token = row.args["id"], row.args["lease_token"]
        by_it = ended.get((task_id, row.index), [])  # At the index that the answer carried.
        if row.f == "complete" and task_id in completed:
            by_it = [completed[task_id]]
        if by_it and all(event.lease_token != token for event in by_it):
            why = f"{row.f} under lease {token} was accepted as another's"
            return broken(leases, why, row, by_it[0])
    return held(leases) if leases else inconclusive(0, "nothing was leased")


def lease(evidence: Evidence) -> Verdict:
    """No two leases of a task overlap: the first has ended where the second begins."""
    holder: dict[str, Event] = {}
    leases = 0
    for event in evidence.events:
        task_id = event.task_id
        if task_id is None:
            continue
        if event.kind == "leased":
            leases += 1
            if task_id in holder:
                why = f"task {task_id} was leased twice at once"
                return broken(leases, why, holder[task_id], event)
            holder[task_id] = event
        elif event.kind in _ENDS_LEASE:
            holder.pop(task_id, None)
    return held(leases) if leases else inconclusive(0, "nothing was leased")


_TURN_SLACK_MS = 1_000


class _Waiting(NamedTuple):
    """A task that waits; the least goes first."""

    turn_ms: int  # When it began to wait, less five minutes a level of priority.
    since: tuple[int, int]  # The position at which it began to.
    task_id: str
    priority: int


def order(evidence: Evidence) -> Verdict:
    """Of tasks that one worker could run alike, the one whose turn it is goes first.

    Within a priority that is first in, first out; a lower one goes before a higher only when it has
    waited five minutes longer for each level between them.
    """
    asked = _asked(evidence)
    lanes: dict[tuple[Any, ...], list[_Waiting]] = defaultdict(list)
    standing: dict[str, _Waiting] = {}
    newest: dict[str, _Waiting] = {}  # A released task takes the place that it had.
    leases = 0
    for event in evidence.events:
        task_id = event.task_id
        if task_id is None or task_id not in asked:
            continue
        lane, priority = asked[task_id]
        if event.kind == "leased":
            leases += 1
            mine = standing.pop(task_id, None)
            first = _first(lanes[lane], standing)
            if mine is not None and first is not None and _is_before(first, mine):
                why = f"task {task_id} went before task {first.task_id}, whose turn it was"
                return broken(leases, why, first, mine, event)
        elif event.status != "pending":
            standing.pop(task_id, None)
        elif task_id not in standing:
            waiting = newest.get(task_id)
            if event.kind != "released" or waiting is None:
                since = (event.index, event.offset)
                turn_ms = event.time_ms - priority * AGEING_MS
                waiting = newest[task_id] = _Waiting(turn_ms, since, task_id, priority)
            standing[task_id] = waiting
            heapq.heappush(lanes[lane], waiting)
    if not leases:
        return inconclusive(0, "nothing was leased whose submission is known")
    return held(leases)


def _asked(evidence: Evidence) -> Mapping[str, tuple[tuple[Any, ...], int]]:
    """Of each task that a client named: who may run it, and its priority."""
    asked = {}
    for row in evidence.rows:
        if row.f == "submit" and row.type is not Type.FAIL:
            args = row.args
            lane = (args.get("queue", "default"), args.get("type"), tuple(args.get("requires", ())))
            asked[args["id"]] = (lane, args.get("priority", PRIORITY_NORMAL))
    return asked


def _first(lane: list[_Waiting], standing: Mapping[str, _Waiting]) -> _Waiting | None:
    """Whose turn it is, those that no longer wait apart."""
    while lane and standing.get(lane[0].task_id) is not lane[0]:
        heapq.heappop(lane)
    return lane[0] if lane else None


def _is_before(one: _Waiting, other: _Waiting) -> bool:
    if one.priority == other.priority:
        return one < other
    # Events tell cluster time as their entry's stamp; turns of two priorities are finer than that.
    return one.turn_ms + _TURN_SLACK_MS < other.turn_ms
