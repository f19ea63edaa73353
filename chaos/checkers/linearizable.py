"""Linearizable: one order of all requests to a task explains every answer, and keeps real time.

Independent of the indexes that our own answers carry. Each task is an object of its own, which is
enough: linearizability is local (Herlihy and Wing, 1990, theorem 1). The search is that of Wing and
Gong (1993), with Lowe's (2017) memory of configurations that lead nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chaos.checkers.evidence import Evidence
from chaos.checkers.verdicts import Verdict, broken, held, inconclusive
from chaos.history import Row, Type

CONFIGURATIONS_MAX = 200_000  # Of one task; beyond it the verdict is inconclusive.
LIVE = frozenset({"scheduled", "blocked", "pending", "processing", "retrying"})


class Standing(NamedTuple):
    """A task as this model knows it: `absent`, `live`, `gone`, or the status that it ended in."""

    status: str
    result: str | None = None


ABSENT = Standing("absent")
ALIVE = Standing("live")
GONE = Standing("gone")
_ENDS = {status: Standing(status) for status in ("failed", "cancelled", "expired")}
_AFTER_LIVE = (ALIVE, *_ENDS.values(), GONE)
_DONE_UNSEEN = Standing("completed", None)  # By a worker that recorded nothing: with any result.


def linearizable(evidence: Evidence) -> Verdict:
    """A completed task is never seen as waiting again; an acknowledged one is never not there."""
    by_task = _by_task(evidence.rows)
    given_up: list[str] = []
    checked = 0
    for task_id, rows in by_task.items():
        checked += len(rows)
        answer = _explain(rows)
        if answer is None:
            given_up.append(task_id)
        elif not answer:
            witness = _smallest(rows)
            return broken(checked, f"no order explains the answers about task {task_id}", *witness)
    if given_up:
        return inconclusive(
            checked, f"{len(given_up)} tasks had more orders than could be tried", *given_up
        )
    return held(checked) if checked else inconclusive(0, "no request named a task")


def _by_task(rows: Iterable[Row]) -> Mapping[str, Sequence[Row]]:
    """What has a say in the order, by task: an unanswered read and what never happened do not."""
    by_task: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.type is Type.FAIL or row.f not in _STEPS:
            continue
        if row.f == "task" and row.type is Type.INFO:
            continue
        task_id = row.task_id
        if task_id is not None and not row.args.get("stale"):
            by_task[task_id].append(row)
    return by_task


def _explain(rows: Sequence[Row]) -> bool | None:
    """Whether some order explains *rows*; None when there are too many to try."""
    are_workers_unseen = all(row.f != "complete" for row in rows)
    certain = 0
    for number, row in enumerate(rows):
        if row.type is Type.OK:
            certain |= 1 << number
    seen: set[tuple[int, Standing]] = set()
    stack = [(0, ABSENT)]
    while stack:
        done, standing = configuration = stack.pop()
        if done & certain == certain:
            return True
        if configuration in seen:
            continue
        seen.add(configuration)
        if len(seen) > CONFIGURATIONS_MAX:
            return None
        first_return = min(
            row.returned
            for number, row in enumerate(rows)
            if certain >> number & 1 and not done >> number & 1
        )
        for number, row in enumerate(rows):
            if done >> number & 1 or row.invoked > first_return:
                continue
            # The likeliest last, which is tried first: that the task had not moved by itself.
            after = _steps(row, standing, are_workers_unseen=are_workers_unseen)
            stack.extend((done | 1 << number, each) for each in reversed(after))
    return False


def _steps(row: Row, standing: Standing, *, are_workers_unseen: bool) -> list[Standing]:
    """Where *row* may leave a task, which may first have moved by itself."""
    step = _STEPS[row.f]
    value = row.value if row.type is Type.OK else None
    found = []
    for before in _moved(standing, are_workers_unseen=are_workers_unseen):
        found += step(row.args, value, before)
    return list(dict.fromkeys(found))


def _moved(standing: Standing, *, are_workers_unseen: bool) -> tuple[Standing, ...]:
    """Where a task may have gone by itself: a run fails, a deadline passes, what ended goes."""
    if standing is ALIVE:
        return (*_AFTER_LIVE, _DONE_UNSEEN) if are_workers_unseen else _AFTER_LIVE
    if standing in (ABSENT, GONE):
        return (standing,)
    return (standing, GONE)


# A step: the arguments, what was answered (None: unknown), where the task was. No result: it cannot
# have happened then.


def _submit(_args: Mapping[str, Any], value: Any, before: Standing) -> list[Standing]:
    is_duplicate = None if value is None else value.get("duplicate")
    if before is ABSENT:
        return [] if is_duplicate else [ALIVE]
    return [] if is_duplicate is False else [before]


def _read(_args: Mapping[str, Any], value: Any, before: Standing) -> list[Standing]:
    if value is None or value.get("status") is None:
        return [before] if before in (ABSENT, GONE) else []
    status = value["status"]
    if before is ALIVE:
        return [before] if status in LIVE else []
    if before.status != status or before.result not in (None, value.get("result")):
        return []
    return [before._replace(result=value.get("result"))]


def _complete(args: Mapping[str, Any], value: Any, before: Standing) -> list[Standing]:
    after = Standing("completed", args.get("result"))
    if before == after:
        return [after]
    is_duplicate = value is not None and value.get("duplicate")
    return [after] if before is ALIVE and not is_duplicate else []


def _settle(_args: Mapping[str, Any], value: Any, before: Standing) -> list[Standing]:
    """A run failed or was handed back, or a cancellation was asked for: the answer says whither."""
    after = [ALIVE, *_ENDS.values()] if value is None else [_standing(value.get("status"))]
    if before is ALIVE:
        return after
    return [before] if before in after else []


def _retry(_args: Mapping[str, Any], _value: Any, before: Standing) -> list[Standing]:
    return [ALIVE] if before in _ENDS.values() else []


def _delete(_args: Mapping[str, Any], _value: Any, before: Standing) -> list[Standing]:
    return [GONE] if before == _ENDS["failed"] else []


def _standing(status: str | None) -> Standing:
    return _ENDS.get(status or "", ALIVE)


_STEPS = {
    "submit": _submit,
    "task": _read,
    "complete": _complete,
    "fail": _settle,
    "release": _settle,
    "progress": _settle,
    "cancel": _settle,
    "retry": _retry,
    "delete": _delete,
}


def _smallest(rows: Sequence[Row]) -> Sequence[Row]:
    """*rows* without those that are not needed to show the contradiction."""
    kept = list(rows)
    for row in rows:
        fewer = [each for each in kept if each is not row]
        # Without its submission whatever was seen of the task is a contradiction of another kind.
        if row.f != "submit" and _explain(fewer) is False:
            kept = fewer
    return kept
