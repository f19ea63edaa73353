"""What a worker holds, may take and must stop: no network, no clock."""

from __future__ import annotations

from node.session import Session


def test_a_fresh_session_has_room_for_every_slot() -> None:
    assert Session(slots=4).room == 4


def test_a_lease_takes_a_slot_until_it_is_settled() -> None:
    session = Session(slots=2)
    session.take(7, "a")
    assert session.room == 1

    assert session.finish(7)
    assert session.room == 1, "an outcome on its way still holds its slot"

    session.settle(7, "a")
    assert session.room == 2
    assert session.is_idle


def test_a_lease_given_twice_runs_once() -> None:
    session = Session(slots=2)

    assert session.take(7, "a")
    assert not session.take(7, "a")


def test_a_heartbeat_names_running_and_reporting_leases() -> None:
    session = Session(slots=3)
    session.take(7, "a")
    session.take(8, "b")
    session.finish(8)

    assert session.tokens == (7, 8)


def test_a_lost_lease_is_stopped_unnamed_and_unreported() -> None:
    session = Session(slots=1)
    session.take(7, "a")

    assert session.lose([7]) == (7,)
    assert session.tokens == ()
    assert not session.finish(7)


def test_a_lost_run_keeps_its_slot_until_it_has_stopped() -> None:
    session = Session(slots=1)
    session.take(7, "a")
    session.lose([7])
    assert session.room == 0

    session.settle(7, "a")
    assert session.room == 1


def test_a_lease_in_report_is_not_stopped_by_a_loss() -> None:
    session = Session(slots=1)
    session.take(7, "a")
    session.finish(7)

    assert session.lose([7]) == ()
    assert session.tokens == (7,)


def test_a_token_that_was_never_held_is_not_lost() -> None:
    assert Session(slots=1).lose([41]) == ()


def test_the_end_of_a_registration_loses_every_running_lease() -> None:
    session = Session(slots=3)
    for token, task_id in enumerate("abc"):
        session.take(token, task_id)
    session.finish(2)

    assert session.end() == (0, 1)


def test_a_cancelled_run_is_stopped_and_still_reported() -> None:
    session = Session(slots=1)
    session.take(7, "a")

    assert session.cancel(["a", "unknown"]) == (7,)
    assert session.finish(7)


def test_a_task_that_came_back_is_cancelled_by_its_newest_lease() -> None:
    session = Session(slots=2)
    session.take(7, "a")
    session.lose([7])
    session.take(9, "a")
    session.settle(7, "a")

    assert session.cancel(["a"]) == (9,)


def test_a_draining_session_takes_nothing_more() -> None:
    session = Session(slots=4)
    session.take(7, "a")
    session.drain()

    assert session.room == 0
    assert not session.is_idle
