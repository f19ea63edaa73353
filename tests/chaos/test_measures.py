"""What is measured in a history: gaps between acknowledgements, outages, the slowest answer."""

from __future__ import annotations

from typing import Any

from chaos.history import Row, Type
from chaos.measures import Gap, longest_gap, outage, slowest


def row(invoked: float, returned: float, **changes: Any) -> Row:
    asked = Row("client", "submit", {"id": "t"}, "r", invoked, returned, Type.OK)
    return asked._replace(**changes)


def test_the_longest_gap_is_between_two_acknowledgements() -> None:
    rows = [row(0, 1.0), row(1, 1.5), row(1.4, 4.0), row(4, 5.0)]

    assert longest_gap(rows, 0.0, 6.0) == Gap(1.5, 2.5)


def test_a_gap_may_be_at_either_end() -> None:
    assert longest_gap([row(0, 5.0)], 0.0, 6.0) == Gap(0.0, 5.0)
    assert longest_gap([row(0, 1.0)], 0.0, 6.0) == Gap(1.0, 5.0)


def test_what_was_refused_or_read_ends_no_gap() -> None:
    rows = [row(0, 1.0, type=Type.FAIL), row(0, 2.0, f="task"), row(0, 3.0, type=Type.INFO)]

    assert longest_gap(rows, 0.0, 6.0) == Gap(0.0, 6.0)


def test_an_outage_ends_with_an_answer_to_what_began_in_it() -> None:
    rows = [row(0.9, 1.1), row(1.2, 3.0), row(2.0, 3.5)]

    assert outage(rows, 1.0) == 2.0


def test_an_outage_without_an_answer_has_no_end() -> None:
    assert outage([row(0, 0.5)], 1.0) == float("inf")


def test_the_slowest_answer_counts_whatever_it_was() -> None:
    assert slowest([row(0, 1.0), row(1, 4.0, type=Type.FAIL)]) == 3.0
    assert slowest([]) == 0.0
