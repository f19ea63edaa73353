"""Planted bugs of the simulation, caught from outside: by a checker, from what a run has left.

The judge of the simulation looks into nodes. Here only rows, events, logs and views are looked at,
as a run on real processes leaves them; the same run without the bug must not be called broken.
Nobody purges queues in these runs: no row tells of it, and what is gone would pass for lost.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaos.checkers import CHECKERS
from chaos.checkers.verdicts import Status
from chaos.simulation.catalogue import bugs
from chaos.simulation.evidence import gather
from chaos.simulation.plan import draw

KNOWN = {checker.name: checker for checker in CHECKERS}

# Bug, a seed of its theme that shows it, and the checker that sees it.
CAUGHT = (
    ("apply-beyond-durable", 0, "total queue"),
    ("keys-not-remembered", 0, "idempotent"),
    ("lease-token-reused", 0, "fence"),
    ("vote-for-anyone", 2, "replicas"),
)


@pytest.mark.parametrize(("bug", "seed", "name"), CAUGHT)
def test_a_checker_sees_a_planted_bug_from_outside(bug: str, seed: int, name: str) -> None:
    plan = replace(draw(seed, theme=bugs()[bug].theme), stewards=0)

    with_it = KNOWN[name].check(gather(plan, bug=bug))
    without = KNOWN[name].check(gather(plan))

    assert with_it.status is Status.BROKEN, with_it
    assert without.status is not Status.BROKEN, without
