"""What the benchmarks say of many waits is what a sorted list would say, to a thousandth."""

from __future__ import annotations

import random

import pytest

from benchmarks.waits import Waits


def test_percentiles_are_those_of_the_sorted_waits() -> None:
    roll = random.Random(7)
    seconds = [roll.lognormvariate(-6, 1) for _ in range(10_001)]
    waits = Waits()

    for each in seconds:
        waits.add(each)

    seconds.sort()
    assert waits.count == len(seconds)
    assert waits.percentile_ms(50) == pytest.approx(seconds[5_000] * 1e3, rel=0.001)
    assert waits.percentile_ms(99) == pytest.approx(seconds[9_900] * 1e3, rel=0.001)


def test_no_wait_has_no_percentile() -> None:
    assert Waits().percentile_ms(50) is None
