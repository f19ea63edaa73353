"""The judgement of a whole run, on logs and histories made by hand."""

from __future__ import annotations

from chaos.simulation.history import Attempt, Kind, Outcome
from chaos.simulation.judge import Applied
from chaos.simulation.verdict import judge_history, replay
from cluster import codec
from cluster.core.commands import Submit
from cluster.core.model import NewTask
from cluster.core.queries import Count


def submit(tag: str) -> Submit:
    return Submit((NewTask.of(f"task-{tag}", "echo", b"", "text/plain", submitted_by=tag),))


def ledger_of(*tags: str) -> dict[int, Applied]:
    """A log whose entries each carry one submission, the first at index 2."""
    return {
        index: Applied(
            1,
            codec.pack_entry(index, index, [("node1", index, [codec.pack_command(submit(tag))])]),
            b"",
            "node1",
        )
        for index, tag in enumerate(tags, start=2)
    }


def attempt(tag: str, outcome: Outcome, *, index: int = 0, at: float = 0.0) -> Attempt:
    made = Attempt("client", Kind.WRITE, "node1", submit(tag), tag, at)
    made.outcome, made.index, made.term, made.returned = outcome, index, 1, at + 0.1
    reached = replay(ledger_of(tag), [])
    made.value = reached.replies[tag]
    return made


def rules(ledger: dict[int, Applied], *attempts: Attempt) -> list[str]:
    return [rule for rule, _ in judge_history(ledger, attempts, seconds=10.0)]


def test_an_acknowledged_write_where_it_was_told_is_right() -> None:
    assert rules(ledger_of("a"), attempt("a", Outcome.OK, index=2)) == []


def test_an_acknowledged_write_in_no_log_is_lost() -> None:
    assert "acknowledged is kept" in rules(ledger_of("a"), attempt("b", Outcome.OK, index=9))


def test_an_acknowledged_write_somewhere_else_is_broken() -> None:
    found = rules(ledger_of("a", "b"), attempt("b", Outcome.OK, index=2))

    assert "acknowledged once, as told" in found


def test_a_failed_write_in_the_log_is_a_lie() -> None:
    assert "what failed never happened" in rules(ledger_of("a"), attempt("a", Outcome.FAIL))


def test_an_unknown_write_may_or_may_not_be_in_the_log() -> None:
    found = rules(ledger_of("a"), attempt("a", Outcome.INFO), attempt("b", Outcome.INFO))

    assert found == []


def test_a_proposal_in_the_log_twice_is_broken() -> None:
    found = rules(ledger_of("a", "a"), attempt("a", Outcome.INFO))

    assert "a proposal commits at most once" in found


def test_a_later_write_with_a_lower_index_is_not_linearizable() -> None:
    first = attempt("a", Outcome.OK, index=3, at=1.0)
    second = attempt("b", Outcome.OK, index=2, at=2.0)

    assert "linearizable" in rules(ledger_of("b", "a"), first, second)


def test_a_read_that_misses_what_was_acknowledged_before_it_is_not_linearizable() -> None:
    write = attempt("a", Outcome.OK, index=2, at=1.0)
    read = Attempt("reader", Kind.READ, "node2", Count(), "", 2.0)
    read.outcome, read.index, read.returned = Outcome.OK, 1, 2.1

    assert "linearizable" in rules(ledger_of("a"), write, read)


def test_a_stale_read_below_what_was_asked_for_is_broken() -> None:
    read = Attempt("reader", Kind.STALE, "node2", Count(), "", 2.0, min_index=5)
    read.outcome, read.index, read.returned = Outcome.OK, 1, 2.1

    assert "a session never goes back" in rules(ledger_of("a"), read)
