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
    ("clock-read-in-apply", 0, "replicas"),
    ("expired-is-certain", 20, "linearizable"),
    ("keys-lost-in-snapshots", 0, "idempotent"),
    ("keys-not-remembered", 0, "idempotent"),
    ("late-completion-accepted", 0, "fence"),
    ("lease-token-reused", 0, "fence"),
    ("parcels-of-another-term", 1, "linearizable"),
    ("skip-the-fsync", 2, "total queue"),
    ("submit-ids-forgotten", 2, "lease"),
    ("tear-is-kept", 2, "total queue"),
    ("vote-for-anyone", 2, "replicas"),
)

# Bugs that the judge sees in a run, and no checker from outside of the same run; and why.
_NOT_YET = "something acknowledged could be lost from then on; in this run nothing was"
_SLOW = "it costs time and elections, and no answer is wrong"
_TWICE = "the second copy of a command finds its task there, and does nothing"
_UNASKED = "nobody in the simulation asks at that moment for a task that another has just moved"
_UNTOLD = "no row tells that a worker or a queue was to get, or to give, nothing"
UNSEEN = {
    "cluster-time-jumps": "leases end early, as they may",
    "commit-beyond-vouched": _NOT_YET,
    "commit-of-an-earlier-term": _NOT_YET,
    "damage-is-cut": _NOT_YET,
    "draining-workers-served": _UNTOLD,
    "forget-votes": _NOT_YET,
    "leader-never-falls-back": _SLOW,
    "no-grace": "leases end early, as they may",
    "no-pre-vote": _SLOW,
    "no-stickiness": _SLOW,
    "parcels-not-remembered": _TWICE,
    "parcels-sent-anew-too-soon": _TWICE,
    "paused-queues-served": _UNTOLD,
    "read-unapplied": _UNASKED,
    "read-without-a-round": _UNASKED,
    "send-before-sync": _NOT_YET,
    "serve-before-the-no-op": _SLOW,
    "silent-nodes-served": _UNTOLD,
    "wiped-disk-votes": _NOT_YET,
}


@pytest.mark.parametrize(("bug", "seed", "name"), CAUGHT)
def test_a_checker_sees_a_planted_bug_from_outside(bug: str, seed: int, name: str) -> None:
    plan = replace(draw(seed, theme=bugs()[bug].theme), stewards=0)

    with_it = KNOWN[name].check(gather(plan, bug=bug))
    without = KNOWN[name].check(gather(plan))

    assert with_it.status is Status.BROKEN, with_it
    assert without.status is not Status.BROKEN, without


def test_no_bug_is_both_seen_and_unseen_from_outside() -> None:
    seen = {bug for bug, _, _ in CAUGHT}

    assert not seen & UNSEEN.keys()
    assert seen | UNSEEN.keys() <= bugs().keys()
