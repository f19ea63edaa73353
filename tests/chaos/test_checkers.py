"""The checkers hold what held, and find what is planted: one broken promise each."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chaos.checkers import CHECKERS, Evidence, check
from chaos.checkers.evidence import Fault
from chaos.checkers.verdicts import Status, worst
from chaos.history import Row, Type

_spec = importlib.util.spec_from_file_location(
    "staged_runs", Path(__file__).with_name("staged_runs.py")
)
assert _spec is not None
assert _spec.loader is not None
staged_runs = importlib.util.module_from_spec(_spec)
sys.modules["staged_runs"] = staged_runs
_spec.loader.exec_module(staged_runs)
StagedRun = staged_runs.StagedRun

KNOWN = {checker.name: checker for checker in CHECKERS}


@pytest.fixture(scope="module")
def run() -> Any:
    """A run in which nothing is wrong."""
    return StagedRun(seed=7).run(400)


@pytest.mark.parametrize("seed", range(5))
def test_every_promise_holds_of_a_run_of_the_real_machine(seed: int) -> None:
    verdicts = check(StagedRun(seed=seed).run(300).evidence())

    assert {name: (v.status.word, v.why) for name, v in verdicts.items() if v.status} == {}
    assert worst(verdicts.values()) is Status.HELD


@pytest.mark.parametrize("name", KNOWN)
def test_nothing_is_shown_by_a_run_that_left_nothing(name: str) -> None:
    assert KNOWN[name].check(Evidence()).status is Status.INCONCLUSIVE


def _ok(run: Any, f: str) -> int:
    return next(at for at, row in enumerate(run.rows) if row.f == f and row.type is Type.OK)


def _with_row(run: Any, at: int, **changes: Any) -> dict[str, Any]:
    rows = list(run.rows)
    rows[at] = rows[at]._replace(**changes)
    return {"rows": rows}


def _with_event(run: Any, at: int, **changes: Any) -> dict[str, Any]:
    events = list(run.events)
    events[at] = events[at]._replace(**changes)
    return {"events": events}


def _lost_submission(run: Any) -> dict[str, Any]:
    task_id = run.rows[_ok(run, "submit")].args["id"]
    return {"final": {**run.evidence().final, task_id: None}}


def _ended_unasked(run: Any) -> dict[str, Any]:
    return {"final": {**run.evidence().final, "nobody's": "completed"}}


def _completed_twice(run: Any) -> dict[str, Any]:
    at = run.first("completed")
    events = [*run.events[: at + 1], run.events[at], *run.events[at + 1 :]]
    return {"events": events}


def _two_completions_told(run: Any) -> dict[str, Any]:
    row = run.rows[_ok(run, "complete")]
    other = row._replace(args={**row.args, "lease_token": row.args["lease_token"] + 1})
    return {"rows": [*run.rows, other]}


def _token_reused(run: Any) -> dict[str, Any]:
    at = run.first("leased", run.events)
    later = next(
        number for number, event in enumerate(run.events) if number > at and event.kind == "leased"
    )
    return _with_event(run, later, lease_token=run.events[at].lease_token)


def _late_token_completes(run: Any) -> dict[str, Any]:
    at = run.first("completed")
    return _with_event(run, at, lease_token=run.events[at].lease_token - 1)


def _late_token(run: Any, f: str) -> dict[str, Any]:
    """What ended a lease was asked for under an older one."""
    ended = {(event.task_id, event.index) for event in run.events if event.lease_token}
    at = next(
        at
        for at, row in enumerate(run.rows)
        if row.f == f and row.type is Type.OK and (row.args["id"], row.index) in ended
    )
    args = run.rows[at].args
    return _with_row(run, at, args={**args, "lease_token": args["lease_token"] - 1})


def _leased_while_leased(run: Any) -> dict[str, Any]:
    at = run.first("leased")
    return {"events": [*run.events[: at + 1], run.events[at], *run.events[at + 1 :]]}


def _jumped_the_queue(run: Any) -> dict[str, Any]:
    """The last of all that were submitted is leased first."""
    at = run.first("leased")
    priority = 4
    asked = {row.args["id"]: row.args["priority"] for row in run.rows if row.f == "submit"}
    submitted = [
        event for event in run.events if event.kind == "submitted"
        and asked[event.task_id] == priority and event.status == "pending"
    ][:2]  # fmt: skip
    events = [*submitted, run.events[at]._replace(task_id=submitted[1].task_id)]
    return {"events": events}


def _from_completed_back(run: Any) -> dict[str, Any]:
    at = run.first("completed")
    back = run.events[at]._replace(kind="ready", status="pending")
    return {"events": [*run.events[: at + 1], back, *run.events[at + 1 :]]}


def _event_missing(run: Any) -> dict[str, Any]:
    """The run's last completion is in no event, though the task is completed."""
    last = max(at for at, event in enumerate(run.events) if event.kind == "completed")
    return {"events": [event for at, event in enumerate(run.events) if at != last]}


def _session_went_back(run: Any) -> dict[str, Any]:
    rows = [row for row in run.rows if row.type is Type.OK and row.process == "reader"]
    last = run.rows.index(rows[-1])
    return _with_row(run, last, index=1)


def _key_of_two_tasks(run: Any) -> dict[str, Any]:
    row = run.rows[_ok(run, "submit")]
    keyed = {**row.args, "idempotency_key": "k"}
    other = {**row.value, "id": "another"}
    return {"rows": [row._replace(args=keyed), row._replace(args=keyed, value=other)]}


def _state_differs(run: Any) -> dict[str, Any]:
    sights = list(run.sights)
    sights[4] = sights[4]._replace(state_hash="another")
    return {"sights": sights}


def _two_leaders(run: Any) -> dict[str, Any]:
    return {"sights": [*run.sights, run.sights[1]._replace(role="leader")]}


def _term_fell(run: Any) -> dict[str, Any]:
    return {"sights": [*run.sights, run.sights[0]._replace(term=0)]}


def _logs_part(run: Any) -> dict[str, Any]:
    other = list(run.log)
    other[5] = other[5]._replace(command=other[6].command)
    return {"logs": {"node1": run.log, "node2": other}}


def _never_served_again(run: Any) -> dict[str, Any]:
    last = max(at for at, row in enumerate(run.rows) if row.process == "probe-node3")
    return _with_row(run, last, type=Type.FAIL, value="no_quorum")


def _left_waiting(run: Any) -> dict[str, Any]:
    task_id = run.rows[_ok(run, "submit")].args["id"]
    return {"final": {**run.evidence().final, task_id: "pending"}}


def _acknowledged_in_no_log(run: Any) -> dict[str, Any]:
    row = run.rows[_ok(run, "submit")]
    return {"rows": [*run.rows, row._replace(args={**row.args, "id": "nobody's"})]}


def _failed_in_the_log(run: Any) -> dict[str, Any]:
    return _with_row(run, _ok(run, "submit"), type=Type.FAIL, value="no_quorum")


def _told_too_early(run: Any) -> dict[str, Any]:
    last = max(at for at, row in enumerate(run.rows) if row.f == "submit" and row.type is Type.OK)
    return _with_row(run, last, index=1)


def _read_of_the_past(run: Any) -> dict[str, Any]:
    """A task that was seen completed is seen waiting later."""
    row = run.rows[_ok(run, "complete")]
    later = row.returned + 1_000
    seen = {"status": "pending", "result": None}
    read = Row("late", "task", {"id": row.args["id"]}, "r", later, later, Type.OK, seen, "node1")
    return {"rows": [*run.rows, read]}


def _read_of_another_result(run: Any) -> dict[str, Any]:
    row = run.rows[_ok(run, "complete")]
    later = row.returned + 1_000
    seen = {"status": "completed", "result": "another"}
    read = Row("late", "task", {"id": row.args["id"]}, "r", later, later, Type.OK, seen, "node1")
    return {"rows": [*run.rows, read]}


def _submitted_is_not_there(_run: Any) -> dict[str, Any]:
    """Read after it was acknowledged and before anything could have ended it: not there."""
    row = Row("a", "submit", {"id": "t"}, "s", 0.0, 1.0, Type.OK, {"duplicate": False}, "node1")
    seen = Row("b", "task", {"id": "t"}, "r", 2.0, 3.0, Type.OK, None, "node2")
    again = Row("b", "task", {"id": "t"}, "r2", 4.0, 5.0, Type.OK, {"status": "pending"}, "node2")
    return {"rows": [row, seen, again]}


PLANTED: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "a submission is lost": ("total queue", _lost_submission),
    "a task ends unasked": ("total queue", _ended_unasked),
    "a task is completed twice": ("complete once", _completed_twice),
    "two completions are told": ("complete once", _two_completions_told),
    "a token is reused": ("fence", _token_reused),
    "a late token completes": ("fence", _late_token_completes),
    "a late token fails": ("fence", partial(_late_token, f="fail")),
    "a late token releases": ("fence", partial(_late_token, f="release")),
    "two leases at once": ("lease", _leased_while_leased),
    "a task jumps the queue": ("order and priority", _jumped_the_queue),
    "what was completed waits again": ("transitions", _from_completed_back),
    "an event is missing": ("conservation", _event_missing),
    "a session goes back": ("monotonic", _session_went_back),
    "a key has two tasks": ("idempotent", _key_of_two_tasks),
    "states differ": ("replicas", _state_differs),
    "two leaders of a term": ("raft", _two_leaders),
    "a term falls": ("raft", _term_fell),
    "logs part": ("raft", _logs_part),
    "logs part, as the witness sees it": ("witness", _logs_part),
    "an acknowledged write is in no log": ("witness", _acknowledged_in_no_log),
    "a failed write is in the log": ("witness", _failed_in_the_log),
    "an index is told too early": ("witness", _told_too_early),
    "a node never serves again": ("liveness", _never_served_again),
    "a task is left waiting": ("liveness", _left_waiting),
    "a read shows the past": ("linearizable", _read_of_the_past),
    "a read shows another result": ("linearizable", _read_of_another_result),
    "a submitted task is not there": ("linearizable", _submitted_is_not_there),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_anomaly_is_found_and_shown(run: Any, what: str) -> None:
    name, plant = PLANTED[what]

    verdict = KNOWN[name].check(run.evidence(**plant(run)))

    assert verdict.status is Status.BROKEN, verdict
    assert verdict.why
    assert verdict.witness or name == "conservation"


def test_a_fault_that_did_not_bite_leaves_the_run_in_doubt(run: Any) -> None:
    toothless = Fault("cut", "node1", 0.0, run.healed, {"packets_dropped": 0})

    verdict = KNOWN["not vacuous"].check(run.evidence(faults=[toothless]))

    assert verdict.status is Status.INCONCLUSIVE
    assert "packets_dropped" in verdict.why


def test_a_node_that_was_given_an_empty_disk_may_begin_with_an_older_term(run: Any) -> None:
    node, at = run.sights[-1].node, run.sights[-1].at
    sights = [*run.sights, run.sights[-1]._replace(at=at + 2, term=0)]

    forgot = KNOWN["raft"].check(run.evidence(sights=sights))
    began_anew = KNOWN["raft"].check(run.evidence(sights=sights, begun_anew=[(node, at + 1)]))

    assert forgot.status is Status.BROKEN
    assert began_anew.status is Status.HELD


def test_a_node_that_was_asked_too_seldom_since_it_never_answers_does_not_serve(run: Any) -> None:
    probes = [row for row in run.rows if row.process == "probe-node3"]
    rest = [row for row in run.rows if row.process != "probe-node3"]
    refused = [row._replace(type=Type.FAIL, value="no_quorum") for row in probes[:4]]

    verdict = KNOWN["liveness"].check(run.evidence(rows=[*rest, *refused]))

    assert verdict.status is Status.BROKEN


def test_a_task_that_nobody_could_ask_for_is_not_called_lost(run: Any) -> None:
    final = dict(run.evidence().final)
    del final[run.rows[_ok(run, "submit")].args["id"]]

    verdict = KNOWN["total queue"].check(run.evidence(final=final))

    assert verdict.status is Status.INCONCLUSIVE


def test_too_little_traffic_leaves_the_run_in_doubt(run: Any) -> None:
    verdict = KNOWN["not vacuous"].check(run.evidence(floor=1_000_000))

    assert verdict.status is Status.INCONCLUSIVE


def test_every_checker_says_what_must_hold() -> None:
    assert all(checker.promise.endswith(".") for checker in CHECKERS)
