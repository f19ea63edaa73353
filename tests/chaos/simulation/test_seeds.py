"""Seeds: the product holds, the same seed is the same run, and planted bugs are caught."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chaos.simulation.catalogue import bugs, plant
from chaos.simulation.plan import Plan, draw
from chaos.simulation.simulation import Verdict, simulate

SEEDS = range(1_000, 1_012)

# Bugs that few seeds show. The whole catalogue, with as many as it takes: `quorate chaos bugs`.
QUICK = (
    "clock-read-in-apply",
    "cluster-time-jumps",
    "lease-token-reused",
    "no-grace",
    "parcels-sent-anew-too-soon",
    "read-unapplied",
)
QUICK_SEEDS = range(15)

TRACE = """
import gc
import sys
from chaos.simulation.plan import draw
from chaos.simulation.simulation import simulate
print(*[simulate(draw(seed)).trace_hash for seed in map(int, sys.argv[1:])])
gc.collect()
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_hold(seed: int) -> None:
    report = simulate(draw(seed))

    assert report.verdict is not Verdict.BROKEN, "\n".join(map(str, report.violations))


def test_a_seed_gives_the_same_run_whatever_strings_hash_to() -> None:
    """And no process that was killed leaves anything behind for Python to warn of."""
    runs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", TRACE, "0", "1", "4", "9"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for hash_seed in ("0", "4242")
    ]

    assert runs[0].stdout == runs[1].stdout
    assert len(set(runs[0].stdout.split())) == 4
    assert not runs[0].stderr + runs[1].stderr


def test_a_plan_is_the_same_after_it_was_written_to_a_file() -> None:
    plan = draw(5)

    assert Plan.from_json(plan.as_json()) == plan


@pytest.mark.parametrize("bug", QUICK)
def test_a_planted_bug_is_caught(bug: str) -> None:
    assert any(simulate(draw(seed), bug=bug).verdict is Verdict.BROKEN for seed in QUICK_SEEDS)


def test_a_planted_bug_is_gone_afterwards() -> None:
    assert simulate(draw(0), bug="clock-read-in-apply").verdict is Verdict.BROKEN

    assert simulate(draw(0)).verdict is Verdict.HELD


@pytest.mark.parametrize("bug", sorted(bugs()))
def test_every_bug_has_something_to_replace(bug: str) -> None:
    with plant(bug):
        pass


def test_every_bug_names_the_rule_it_removes() -> None:
    assert len(bugs()) >= 20
    assert all(bug.removes for bug in bugs().values())
