"""Schedules of a soak: drawn from a seed, of every kind, and never more than a cluster can show."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest

from chaos.soak.schedule import KINDS, Kind, Lane, Planned, Role, draw

HOUR = 3600.0
BY_NAME = {kind.name: kind for kind in KINDS}


def lane(planned: Planned) -> Lane:
    return BY_NAME[planned.kind].lane


def overlap(one: Planned, other: Planned) -> bool:
    return one.at < other.at + other.seconds and other.at < one.at + one.seconds


def test_the_same_seed_draws_the_same_schedule() -> None:
    assert draw(7, HOUR) == draw(7, HOUR)


def test_another_seed_draws_another_schedule() -> None:
    assert draw(7, HOUR) != draw(8, HOUR)


def test_a_shorter_soak_is_the_beginning_of_a_longer_one() -> None:
    short = draw(7, 300.0)

    assert short == draw(7, HOUR)[: len(short)]


@pytest.mark.parametrize("seed", range(20))
def test_every_fault_is_healed_in_time_and_begins_in_order(seed: int) -> None:
    schedule = draw(seed, 600.0)

    assert all(planned.at + planned.seconds <= 600.0 for planned in schedule)
    assert all(earlier.at <= later.at for earlier, later in pairwise(schedule))


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_have_faults_of_every_kind(seed: int) -> None:
    assert {planned.kind for planned in draw(seed, 600.0)} == set(BY_NAME)


@pytest.mark.parametrize("seed", range(5))
def test_faults_of_one_lane_never_overlap_and_those_of_a_majority_with_none(seed: int) -> None:
    for one, other in combinations(draw(seed, 600.0), 2):
        if overlap(one, other):
            assert lane(one) is not lane(other)
            assert Lane.ALL not in (lane(one), lane(other))


def test_faults_do_overlap() -> None:
    assert any(overlap(one, other) for one, other in combinations(draw(1, 600.0), 2))


def test_a_fault_lasts_as_long_as_its_kind_may() -> None:
    for planned in draw(3, HOUR):
        kind = BY_NAME[planned.kind]
        assert kind.seconds_min <= planned.seconds <= kind.seconds_max
        assert planned.role in kind.roles
        assert 0 <= planned.pick < 1


def test_only_the_kinds_that_are_asked_for_are_drawn() -> None:
    only = Kind("all killed", Lane.ALL, (Role.EVERYONE,), 1.0, 2.0)

    assert {planned.kind for planned in draw(1, 60.0, [only])} == {"all killed"}


def test_a_fault_tells_itself_in_a_line() -> None:
    planned = Planned(2.5, 1.25, "deaf", Role.LEADER, 0.5)

    assert str(planned) == "   +2.50 s  deaf (leader) for 1.25 s"
