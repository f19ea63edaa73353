"""What must hold of every task over its life, read from the event stream and the clients' rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise

from chaos.checkers.evidence import Evidence
from chaos.checkers.verdicts import Verdict, broken, held, inconclusive
from chaos.history import Row, Type
from cluster.core.model import Event

FINAL = frozenset({"completed", "failed", "cancelled", "expired"})
_WAITING = frozenset({"pending", "scheduled", "blocked"})
_HELD = "processing"

# From status to status, by what may happen to a task; None is where it has not been submitted.
LEGAL: Mapping[str | None, frozenset[str]] = {
    None: _WAITING,
    "scheduled": frozenset({"pending", "cancelled", "expired"}),
    "blocked": frozenset({"pending", "cancelled", "failed", "expired", "scheduled"}),
    # A lost worker's late report is taken as long as the task has not been leased anew.
    "pending": frozenset({"processing", "cancelled", "expired", "completed", "failed", "retrying"}),
    "processing": frozenset(
        {"processing", "pending", "retrying", "completed", "failed", "cancelled", "expired"}
    ),
    "retrying": frozenset({"pending", "cancelled", "expired"}),
    "completed": frozenset(),
    "failed": frozenset({"pending"}),
    "cancelled": frozenset({"pending"}),
    "expired": frozenset({"pending"}),
}


def total_queue(evidence: Evidence) -> Verdict:
    """What was acknowledged ended, and what ended was asked for (Jepsen's total-queue).

    A task whose submission has an unknown outcome may have ended or never have been.
    """
    if evidence.final is None:
        return inconclusive(0, "nobody asked how the tasks ended")
    asked = [row for row in evidence.rows if row.f == "submit"]
    acknowledged = {row.task_id: row for row in asked if row.type is Type.OK}
    attempted = {row.task_id for row in asked if row.type is not Type.FAIL}
    final = evidence.final
    ended = {task_id for task_id, status in final.items() if status in FINAL}
    unknown = acknowledged.keys() - final.keys()  # Nobody was told how they are.
    lost = acknowledged.keys() - ended - unknown
    if lost:
        task_id = min(lost, key=lambda each: acknowledged[each].returned)
        why = f"{len(lost)} acknowledged tasks never ended; task {task_id} is "
        why += str(final.get(task_id or "") or "not there")
        return broken(len(acknowledged), why, acknowledged[task_id])
    unasked = ended - attempted
    if unasked:
        return broken(
            len(acknowledged), f"{len(unasked)} tasks ended that nobody asked for", min(unasked)
        )
    if unknown:
        return inconclusive(
            len(acknowledged),
            f"{len(unknown)} acknowledged tasks could not be asked for",
        )
    twice = sum(row.type is Type.OK for row in asked) - len(acknowledged)
    return _held_of(len(acknowledged), "acknowledged submissions", f"{twice} told twice")


def complete_once(evidence: Evidence) -> Verdict:
    """A task has one accepted completion: in the events, and of those that clients were told of."""
    completed: dict[str, Event] = {}
    for event in evidence.events:
        if event.kind != "completed" or event.task_id is None:
            continue
        first = completed.get(event.task_id)
        if first is not None:
            return broken(len(completed), f"task {event.task_id} was completed twice", first, event)
        completed[event.task_id] = event
    told: dict[str, Row] = {}
    for row in evidence.rows:
        if row.f != "complete" or row.type is not Type.OK or row.value.get("duplicate"):
            continue
        first_row = told.setdefault(row.args["id"], row)
        if first_row is not row and first_row.args["lease_token"] != row.args["lease_token"]:
            why = f"two completions of task {row.args['id']} were accepted"
            return broken(len(told), why, first_row, row)
    return _held_of(max(len(completed), len(told)), "completions")


def idempotent(evidence: Evidence) -> Verdict:
    """One key, one task: whoever repeats a request under its key is given the same task."""
    first: dict[str, Row] = {}
    repeats = 0
    for row in evidence.rows:
        key = row.args.get("idempotency_key") if row.f == "submit" else None
        if key is None or row.type is not Type.OK:
            continue
        earlier = first.setdefault(key, row)
        repeats += earlier is not row
        if earlier.value.get("id") != row.value.get("id"):
            return broken(len(first), f"key {key} has two tasks", earlier, row)
    return _held_of(repeats, "repeats of a key")


def transitions(evidence: Evidence) -> Verdict:
    """A task goes from status to status only as it may."""
    status_of: dict[str, str] = {}
    last: dict[str, Event] = {}
    for checked, event in enumerate(evidence.events):
        task_id, status = event.task_id, event.status
        if task_id is None or status is None or event.kind in ("removed", "progress"):
            continue
        before = status_of.get(task_id)
        if status not in LEGAL[before] and status != before:
            why = f"task {task_id} went from {before} to {status}"
            return broken(checked, why, *filter(None, (last.get(task_id), event)))
        status_of[task_id] = status
        last[task_id] = event
    return _held_of(len(evidence.events), "events")


def conservation(evidence: Evidence) -> Verdict:
    """All that was submitted is somewhere: as many tasks ended, or wait, as there ever were."""
    if evidence.final is None:
        return inconclusive(0, "nobody asked how the tasks ended")
    status_of: dict[str, str] = {}
    submitted = 0
    for event in evidence.events:
        if event.task_id is None or event.status is None:
            continue
        if event.kind == "submitted":
            submitted += 1
        if event.kind == "removed":
            status_of.pop(event.task_id, None)
            submitted -= 1
        elif event.kind != "progress":
            status_of[event.task_id] = event.status
    by_status = Counter(status_of.values())
    if sum(by_status.values()) != submitted:
        return broken(submitted, f"{submitted} tasks submitted, {dict(by_status)} accounted for")
    for task_id, status in evidence.final.items():
        told = status_of.get(task_id)
        is_over = status is None or status in FINAL  # Else it may have moved on since it was asked.
        if told is not None and told != status and is_over:
            return broken(submitted, f"task {task_id} is {status}; its events say {told}")
    return _held_of(submitted, "tasks")


def monotonic(evidence: Evidence) -> Verdict:
    """A session never goes back in time, on whatever node: its answers' indexes never fall."""
    by_process: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.rows:
        if row.type is Type.OK and row.index and not row.args.get("stale"):
            by_process[row.process].append(row)
    checked = 0
    for rows in by_process.values():
        rows.sort(key=lambda row: row.invoked)
        for earlier, later in pairwise(rows):
            checked += 1
            if later.index < earlier.index and later.invoked >= earlier.returned:
                why = f"{later.process} went back from index {earlier.index} to {later.index}"
                return broken(checked, why, earlier, later)
    return _held_of(checked, "pairs of answers")


def _held_of(checked: int, what: str, why: str = "") -> Verdict:
    return held(checked, why) if checked else inconclusive(0, f"there were no {what}")
