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

# Which checker sees it. How many seeds of its theme that takes changes with all that a node does.
SEEDS_MAX = 12  # A bug that fewer seeds show has no line here.
CAUGHT = (
    ("apply-beyond-durable", "total queue"),
    ("clock-read-in-apply", "replicas"),
    ("keys-lost-in-snapshots", "idempotent"),
    ("keys-not-remembered", "idempotent"),
    ("late-completion-accepted", "fence"),
    ("lease-token-reused", "fence"),
    ("parcels-of-another-term", "linearizable"),
    ("read-from-the-round-before", "monotonic"),
    ("refuse-what-was-forgotten", "linearizable"),
    ("send-ahead-alone", "replicas"),
    ("skip-the-fsync", "total queue"),
    ("snapshot-commits-the-log", "replicas"),
    ("submit-ids-forgotten", "total queue"),
    ("tear-is-kept", "total queue"),
    ("vote-for-anyone", "replicas"),
)

# Bugs that the judge sees in a run, and no checker from outside of the same run; and why.
_NOT_YET = "something acknowledged could be lost from then on; in this run nothing was"
_SLOW = "it costs time and elections, and no answer is wrong"
_TWICE = "the second copy of a command finds its task there, and does nothing"
_UNASKED = "nobody in the simulation asks at that moment for a task that another has just moved"
_UNTOLD = "no row tells that a worker or a queue was to get, or to give, nothing"
_UNPURGED = "nobody purges in these runs"
_RARE = "the judge itself needs more seeds"
UNSEEN = {
    "acks-of-another-term": _SLOW,
    "cluster-time-jumps": "leases end early, as they may",
    "commit-beyond-vouched": _NOT_YET,
    "commit-of-an-earlier-term": _NOT_YET,
    "damage-is-cut": _NOT_YET,
    "draining-workers-served": _UNTOLD,
    "expired-is-certain": _RARE,
    "forget-votes": _NOT_YET,
    "leader-never-falls-back": _SLOW,
    "no-grace": "leases end early, as they may",
    "no-pre-vote": _SLOW,
    "no-stickiness": _SLOW,
    "one-step-backtracking": _SLOW,
    "parcels-not-remembered": _TWICE,
    "parcels-sent-anew-too-soon": _TWICE,
    "paused-queues-served": _UNTOLD,
    "purge-loses-interest": _UNPURGED,
    "purge-takes-what-runs": _UNPURGED,
    "read-back-is-durable": _RARE,
    "read-unapplied": _UNASKED,
    "read-without-a-round": _UNASKED,
    "send-before-sync": _NOT_YET,
    "serve-before-the-no-op": _SLOW,
    "silence-for-ever": "no row tells that a node is taken for silent",
    "silent-nodes-served": _UNTOLD,
    "snapshot-clears-the-log": _NOT_YET,
    "stale-terms-unanswered": _SLOW,
    "truncate-without-conflict": _RARE,
    "votes-of-another-term": _NOT_YET,
    "wiped-disk-votes": _NOT_YET,
}


@pytest.mark.parametrize(("bug", "name"), CAUGHT)
def test_a_checker_sees_a_planted_bug_from_outside(bug: str, name: str) -> None:
    plans = [replace(draw(seed, theme=bugs()[bug].theme), stewards=0) for seed in range(SEEDS_MAX)]
    check = KNOWN[name].check

    shown = next(
        (plan for plan in plans if check(gather(plan, bug=bug)).status is Status.BROKEN), None
    )

    assert shown is not None
    assert check(gather(shown)).status is not Status.BROKEN


def test_every_bug_is_either_seen_or_unseen_from_outside() -> None:
    seen = {bug for bug, _ in CAUGHT}

    assert not seen & UNSEEN.keys()
    assert seen | UNSEEN.keys() == bugs().keys()
