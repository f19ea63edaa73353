"""Timings keep their proportions at every pace."""

from __future__ import annotations

from cluster.raft.contract import Timing
from cluster.settings import ELECTION_SECONDS


def test_the_usual_election_timeout_gives_the_usual_timings() -> None:
    assert Timing.of(ELECTION_SECONDS) == Timing()


def test_all_timings_go_with_the_election_timeout() -> None:
    assert Timing.of(5.0) == Timing(
        election_min=5.0, election_max=10.0, heartbeat=1.0, leader_fallback=10.0
    )
