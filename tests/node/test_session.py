"""What a worker asks, runs and stops: frames in, actions out; no network, no clock."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from node.actions import Action, Ask, Description, Joined, MoveOn, Start, Stop
from node.outcomes import Completed, Failed
from node.session import AGAIN_SECONDS, FAILURES_MAX, Session

GONE = (404, {"code": "worker_unknown"})
OVER = (410, {"code": "worker_lost"})


class Wire:
    """A session and the node at the other end, played by hand."""

    def __init__(self, slots: int = 2) -> None:
        numbers = itertools.count(1)
        description = Description(name="w", slots=slots, queues=("default",), types=("t",))
        self.session = Session(description, lambda: f"w{next(numbers)}")
        self.asked: list[Ask] = []

    def actions(self) -> list[Action]:
        """What the session wants done now; calls can be answered from then on."""
        actions = self.session.take_actions()
        self.asked += [action for action in actions if isinstance(action, Ask)]
        return actions

    def said(self) -> list[tuple[Any, ...]]:
        """The same, as plain tuples."""
        return [_plain(action) for action in self.actions()]

    def answer(self, name: str, status: int = 200, value: Any = None) -> None:
        """Answer the oldest open call of that name."""
        ask = next(ask for ask in self.asked if ask.name == name)
        self.asked.remove(ask)
        self.session.answered(ask, status, value or {})

    def lease(self, *tokens: int, **members: Any) -> None:
        """Push leases; the task of each is called after its token."""
        given = {"cancel_requested": False} | members
        leases = [{"id": f"t{token}", "lease_token": token, **given} for token in tokens]
        self.session.pushed("leased", leases)

    def order(self, **orders: Any) -> None:
        """Push orders."""
        self.session.pushed("orders", {"cancel": [], "lost": [], "drain": False} | orders)

    def reconnect(self) -> None:
        """Lose the connection with all that was asked on it, and find another."""
        self.session.disconnected()
        self.asked.clear()
        self.session.connected()


def _plain(action: Action) -> tuple[Any, ...]:
    match action:
        case Ask(name, body, after_seconds):
            delay = (after_seconds,) if after_seconds else ()
            return (name, *body.values(), *delay)
        case Start(lease):
            return ("start", lease["lease_token"])
        case Stop(token):
            return ("stop", token)
        case MoveOn(_why):
            return ("move on",)
        case Joined(worker_id, heartbeat_seconds):
            return ("joined", worker_id, heartbeat_seconds)


@pytest.fixture
def wire() -> Wire:
    """A worker that has joined as w1 and offered its two slots."""
    wire = Wire()
    wire.session.connected()
    wire.actions()
    wire.answer("register", 201, {"worker_id": "w1", "heartbeat_seconds": 5})
    wire.actions()
    wire.answer("offer")
    return wire


def test_a_worker_registers_then_offers_its_slots() -> None:
    wire = Wire()
    assert wire.said() == []

    wire.session.connected()
    assert wire.said() == [("register", "w1", "w", 2, ("default",), ("t",), ())]

    wire.answer("register", 201, {"worker_id": "w1", "heartbeat_seconds": 5})
    assert wire.said() == [("joined", "w1", 5), ("offer", "w1", 1, 2, ())]


def test_a_registration_whose_answer_was_lost_is_repeated_under_the_same_id() -> None:
    wire = Wire()
    wire.session.connected()
    first = wire.said()

    wire.reconnect()

    assert wire.said() == first


def test_a_worker_that_the_cluster_does_not_take_says_so() -> None:
    wire = Wire()
    wire.session.connected()
    wire.actions()

    wire.answer("register", 422, {"code": "invalid"})

    assert wire.session.refused == (422, {"code": "invalid"})
    assert wire.said() == []


def test_a_lease_is_run_and_its_result_reported(wire: Wire) -> None:
    wire.lease(7, 8)
    assert wire.said() == [("start", 7), ("start", 8)]

    wire.session.finished(7, Completed(42))
    assert wire.said() == [("complete", "t7", 7, 42)]
    assert list(wire.session.tokens) == [7, 8], "an outcome on its way is still held"

    wire.answer("complete")
    assert list(wire.session.tokens) == [8]
    assert wire.said() == [], "the cluster fills a standing offer by itself"


def test_a_failure_is_reported_with_whether_another_try_could_help(wire: Wire) -> None:
    wire.lease(7)
    wire.actions()

    wire.session.finished(7, Failed("no luck", retry=False))

    assert wire.said() == [("fail", "t7", 7, "no luck", False)]


def test_a_lease_given_twice_runs_once(wire: Wire) -> None:
    wire.lease(7)
    wire.lease(7, 8)

    assert wire.said() == [("start", 7), ("start", 8)]


def test_a_lease_to_be_cancelled_is_stopped_as_it_starts(wire: Wire) -> None:
    wire.lease(7, cancel_requested=True)

    assert wire.said() == [("start", 7), ("stop", 7)]


def test_a_cancelled_run_is_stopped_and_its_outcome_still_reported(wire: Wire) -> None:
    wire.lease(7)
    wire.actions()

    wire.order(cancel=["t7", "unknown"])
    assert wire.said() == [("stop", 7)]

    wire.session.finished(7, Failed("stopped"))
    assert wire.said() == [("fail", "t7", 7, "stopped", True)]


def test_a_lost_run_is_stopped_unreported_and_keeps_its_slot_until_it_ends(wire: Wire) -> None:
    wire.lease(7)
    wire.actions()

    wire.order(lost=[7, 99])
    assert wire.said() == [("stop", 7), ("offer", "w1", 2, 1, ())]
    assert wire.session.tokens == ()

    wire.session.finished(7, Completed("too late"))
    assert wire.said() == [("offer", "w1", 3, 2, ())]


def test_a_lease_in_report_is_not_dropped_when_it_is_called_lost(wire: Wire) -> None:
    wire.lease(7)
    wire.session.finished(7, Completed(1))
    wire.actions()

    wire.order(lost=[7])

    assert (wire.said(), wire.session.tokens) == ([], (7,))


@pytest.mark.parametrize(("status", "code"), [(409, "lease_lost"), (404, "task_unknown")])
def test_an_outcome_that_no_longer_counts_is_dropped(wire: Wire, status: int, code: str) -> None:
    wire.lease(7)
    wire.session.finished(7, Completed(1))
    wire.actions()

    wire.answer("complete", status, {"code": code})

    assert (wire.said(), wire.session.is_idle) == ([], True)


def test_a_result_that_cannot_be_said_is_a_failure_for_good(wire: Wire) -> None:
    wire.lease(7)
    wire.session.finished(7, Completed(object()))
    wire.actions()

    wire.answer("complete", 422, {"detail": "no such type"})

    error = "the result cannot be reported: no such type"
    assert wire.said() == [("fail", "t7", 7, error, False)]


def test_a_failure_that_is_refused_is_dropped(wire: Wire) -> None:
    wire.lease(7)
    wire.session.finished(7, Failed("x"))
    wire.actions()

    wire.answer("fail", 413, {"code": "too_large"})

    assert (wire.said(), wire.session.is_idle) == ([], True)


def test_a_task_that_came_back_is_cancelled_by_its_newest_lease(wire: Wire) -> None:
    wire.lease(7, id="a")
    wire.order(lost=[7])
    wire.lease(9, id="a")
    wire.session.finished(7, Completed(1))
    wire.actions()

    wire.order(cancel=["a"])

    assert wire.said() == [("stop", 9)]


# Progress.


def test_progress_is_told_one_word_at_a_time_the_last_one_counting(wire: Wire) -> None:
    wire.lease(7)
    wire.actions()

    wire.session.progressed(7, 1)
    assert wire.said() == [("progress", "t7", 7, 1)]
    wire.session.progressed(7, 2)
    wire.session.progressed(7, 3)
    assert wire.said() == []

    wire.answer("progress")
    assert wire.said() == [("progress", "t7", 7, 3)]
    wire.answer("progress")
    assert wire.said() == []


def test_a_failure_waits_until_the_checkpoint_before_it_is_kept(wire: Wire) -> None:
    wire.lease(7)
    wire.session.progressed(7, 1)
    wire.session.progressed(7, 2)
    wire.session.finished(7, Failed("broken"))
    assert wire.said() == [("start", 7), ("progress", "t7", 7, 1)]

    wire.answer("progress")
    assert wire.said() == [("progress", "t7", 7, 2)]
    wire.answer("progress")
    assert wire.said() == [("fail", "t7", 7, "broken", True)]


def test_the_last_progress_is_told_before_the_result(wire: Wire) -> None:
    """A hundred percent, say: it stays with the task."""
    wire.lease(7)
    wire.session.progressed(7, 1)
    wire.session.progressed(7, 2)
    wire.session.finished(7, Completed(3))
    wire.actions()

    wire.answer("progress")
    assert wire.said() == [("progress", "t7", 7, 2)]
    wire.answer("progress")

    assert wire.said() == [("complete", "t7", 7, 3)]


def test_progress_for_which_there_is_no_room_holds_nothing_up(wire: Wire) -> None:
    wire.lease(7)
    wire.session.progressed(7, 1)
    wire.session.finished(7, Completed(3))
    wire.actions()

    wire.answer("progress", 429, {"code": "cluster_full"})

    assert wire.said() == [("complete", "t7", 7, 3)]


def test_progress_whose_answer_was_lost_is_told_again(wire: Wire) -> None:
    wire.lease(7)
    wire.session.progressed(7, 1)
    wire.actions()

    wire.reconnect()

    assert wire.said() == [("offer", "w1", 2, 2, (7,)), ("progress", "t7", 7, 1)]


# Trouble.


def test_a_new_connection_is_told_what_is_held_and_what_was_not_answered(wire: Wire) -> None:
    wire.lease(7, 8)
    wire.session.finished(8, Completed(1))
    wire.actions()

    wire.reconnect()

    assert wire.said() == [("offer", "w1", 2, 2, (7, 8)), ("complete", "t8", 8, 1)]


def test_a_run_that_ends_between_connections_is_reported_on_the_next(wire: Wire) -> None:
    wire.lease(7)
    wire.actions()
    wire.session.disconnected()
    wire.session.finished(7, Completed(1))
    assert wire.said() == []

    wire.session.connected()

    assert wire.said() == [("offer", "w1", 2, 2, (7,)), ("complete", "t7", 7, 1)]


def test_an_answer_of_an_earlier_connection_is_no_news(wire: Wire) -> None:
    wire.lease(7)
    wire.session.finished(7, Completed(1))
    (_, ask) = wire.actions()
    assert isinstance(ask, Ask)
    wire.reconnect()
    wire.actions()

    wire.session.answered(ask, 503, {})
    wire.session.answered(ask, 200, {})

    assert (wire.said(), wire.session.tokens) == ([], (7,))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_node_that_cannot_serve_is_left_for_another(wire: Wire, status: int) -> None:
    wire.lease(7)
    wire.session.finished(7, Completed(1))
    wire.actions()

    wire.answer("complete", status, {"detail": "no quorum"})
    assert wire.said() == [("move on",)]

    wire.reconnect()
    assert wire.said()[-1] == ("complete", "t7", 7, 1)


def test_what_every_node_fails_over_is_given_up(wire: Wire) -> None:
    wire.lease(7)
    wire.session.progressed(7, 1)
    wire.session.finished(7, Completed(2))
    for name in ("progress", "complete"):
        for _ in range(FAILURES_MAX):
            wire.actions()
            wire.answer(name, 500, {"code": "internal", "detail": "an unexpected error"})
            assert wire.said() == [("move on",)]
            wire.reconnect()
        wire.actions()
        wire.answer(name, 500, {"code": "internal", "detail": "an unexpected error"})

    told = "the result cannot be reported: an unexpected error"
    assert wire.said() == [("fail", "t7", 7, told, False)]


@pytest.mark.parametrize("name", ["register", "offer"])
def test_what_a_node_fails_to_answer_is_asked_of_another(name: str) -> None:
    wire = Wire()
    wire.session.connected()
    wire.actions()
    if name == "offer":
        wire.answer("register", 201, {"worker_id": "w1", "heartbeat_seconds": 5})
        wire.actions()

    wire.answer(name, 500, {"code": "internal", "detail": "an unexpected error"})
    assert wire.said() == [("move on",)]

    wire.reconnect()
    assert wire.said()[0][:2] == (name, "w1")


def test_a_node_that_stops_is_left_for_another(wire: Wire) -> None:
    wire.session.pushed("leaving", None)

    assert wire.said() == [("move on",)]


def test_a_node_with_too_much_to_do_is_asked_again_a_while_later(wire: Wire) -> None:
    wire.lease(7)
    wire.session.finished(7, Completed(1))
    wire.actions()

    wire.answer("complete", 429, {"code": "overloaded"})

    assert wire.said() == [("complete", "t7", 7, 1, AGAIN_SECONDS)]


def test_an_offer_is_asked_again_as_things_stand_by_then(wire: Wire) -> None:
    wire.reconnect()
    assert wire.said() == [("offer", "w1", 2, 2, ())]
    wire.lease(7)
    wire.actions()

    wire.answer("offer", 429, {"code": "overloaded"})

    assert wire.said() == [("offer", "w1", 3, 2, (7,), AGAIN_SECONDS)]


def test_an_offer_that_a_newer_one_has_replaced_is_not_asked_again(wire: Wire) -> None:
    wire.reconnect()
    wire.session.drain()
    wire.actions()

    wire.answer("offer", 429, {"code": "overloaded"})

    assert wire.said() == []


def test_an_offer_that_another_one_superseded_is_made_anew_above_it(wire: Wire) -> None:
    wire.reconnect()
    wire.actions()

    wire.answer("offer", 409, {"code": "offer_superseded"})

    assert wire.said() == [("offer", "w1", 3, 2, ())]


def test_an_offer_that_our_own_next_one_superseded_is_let_go(wire: Wire) -> None:
    wire.reconnect()
    wire.session.drain()
    wire.actions()

    wire.answer("offer", 409, {"code": "offer_superseded"})

    assert wire.said() == []


def test_what_a_newer_node_pushes_besides_is_not_needed(wire: Wire) -> None:
    wire.session.pushed("weather", {"sun": True})

    assert wire.said() == []


@pytest.mark.parametrize("how", ["push", "heartbeat", "offer"])
def test_when_the_session_is_over_its_runs_stop_and_another_begins(wire: Wire, how: str) -> None:
    wire.lease(7, 8)
    wire.session.finished(8, Completed(1))
    wire.actions()

    if how == "push":
        wire.session.pushed("gone", "worker_lost")
    elif how == "heartbeat":
        wire.session.ended("w1")
    else:
        wire.order(lost=[99])
        wire.reconnect()
        wire.actions()
        wire.answer("offer", *OVER)

    assert wire.said() == [("stop", 7), ("register", "w2", "w", 2, ("default",), ("t",), ())]
    assert wire.session.tokens == (8,), "the work was done: its report may still be taken"


def test_the_end_of_an_earlier_session_is_no_news(wire: Wire) -> None:
    wire.session.pushed("gone", "worker_lost")
    wire.actions()

    wire.session.ended("w1")

    assert wire.said() == []


def test_a_session_that_was_lost_before_it_was_answered_begins_under_another_id() -> None:
    wire = Wire()
    wire.session.connected()
    wire.actions()

    wire.answer("register", *OVER)

    assert wire.said() == [("register", "w2", "w", 2, ("default",), ("t",), ())]


# The end.


def test_a_draining_worker_offers_nothing_and_leaves_with_its_last_report(wire: Wire) -> None:
    wire.lease(7)
    wire.actions()

    wire.session.drain()
    assert wire.said() == [("offer", "w1", 2, 0, (7,))]

    wire.session.finished(7, Completed(1))
    wire.actions()
    wire.answer("complete")
    assert wire.said() == [("leave", "w1")]
    assert not wire.session.has_left

    wire.answer("leave")
    assert wire.session.has_left


def test_the_cluster_may_ask_for_a_drain(wire: Wire) -> None:
    wire.order(drain=True)
    wire.order(drain=True)

    assert wire.said() == [("offer", "w1", 2, 0, ()), ("leave", "w1")]


def test_a_lease_that_comes_to_a_draining_worker_is_handed_back(wire: Wire) -> None:
    wire.lease(7)
    wire.session.drain()
    wire.actions()

    wire.lease(8)

    assert wire.said() == [("release", "t8", 8)]


def test_giving_up_stops_every_run_and_leaves(wire: Wire) -> None:
    wire.lease(7, 8)
    wire.session.drain()
    wire.actions()

    assert wire.session.give_up() == (7, 8)

    assert wire.said() == [("stop", 7), ("stop", 8), ("leave", "w1")]


def test_who_gave_up_between_connections_leaves_on_the_next(wire: Wire) -> None:
    wire.lease(7)
    wire.actions()
    wire.session.disconnected()
    wire.session.give_up()
    assert wire.said() == [("stop", 7)]

    wire.session.connected()

    assert wire.said() == [("offer", "w1", 3, 0, ()), ("leave", "w1")]


def test_who_gave_up_leaves_again_where_the_first_answer_was_lost(wire: Wire) -> None:
    wire.lease(7)
    wire.session.give_up()
    wire.actions()

    wire.reconnect()

    assert wire.said() == [("offer", "w1", 3, 0, ()), ("leave", "w1")]


def test_the_news_that_it_is_gone_is_as_good_as_an_answer_to_a_leaving_worker(wire: Wire) -> None:
    wire.session.drain()
    wire.actions()

    wire.session.pushed("gone", "worker_unknown")

    assert (wire.said(), wire.session.has_left) == ([], True)


def test_leaving_is_said_again_on_the_next_connection(wire: Wire) -> None:
    wire.session.drain()
    wire.actions()

    wire.reconnect()

    assert wire.said() == [("offer", "w1", 3, 0, ()), ("leave", "w1")]


def test_a_worker_that_never_joined_has_nothing_to_leave() -> None:
    wire = Wire()
    wire.session.drain()

    assert (wire.said(), wire.session.has_left) == ([], True)


def test_a_session_that_ended_while_draining_is_not_begun_anew(wire: Wire) -> None:
    wire.session.drain()
    wire.actions()

    wire.session.pushed("gone", "worker_lost")

    assert (wire.said(), wire.session.has_left) == ([], True)
