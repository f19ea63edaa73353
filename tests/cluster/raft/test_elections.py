"""Who is encouraged to lead, and when: engines that are told everything by hand, on one clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.raft.contract import EngineHooks, EngineSettings, Message, Start, Timing
from cluster.raft.engine import Engine
from cluster.raft.log import Log
from cluster.raft.membership import Configuration, unformed
from cluster.raft.storage import Directory

NAMES = ("node1", "node2", "node3")
TIMING = Timing()
CLOCK_STEP_SECONDS = 1e-5  # pysyncobj waits for the clock to move on between two looks.


class Outbox(EngineHooks):
    """What an engine says, kept for the test to deliver, or not."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []

    def send(self, peer: str, message: Message, *, is_urgent: bool) -> None:  # noqa: ARG002
        self.sent.append((peer, message))

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        """Nothing: no machine is here."""

    def is_congested(self, peer: str) -> bool:  # noqa: ARG002 - the interface's
        return False

    def needs_snapshot(self, peer: str) -> None:
        raise AssertionError(f"no log is cut here, so {peer} lacks nothing")

    def configured(self, configuration: Configuration) -> None:
        """Nothing: the members stay."""


class Stand:
    """One engine of a formed cluster, linked to the others."""

    def __init__(self, node_id: str, directory: Path) -> None:
        self.now = 0.0
        self.outbox = Outbox()
        addresses = dict.fromkeys(NAMES, "")
        bound = unformed(addresses).bound(dict.fromkeys(NAMES, "disk"), cluster_id="c")
        self.engine = Engine(
            EngineSettings(
                node_id=node_id,
                incarnation="disk",
                start=Start(configuration=bound.formed()),
                log=Log.recover(Directory(directory)),
                hooks=self.outbox,
                timing=TIMING,
                clock=self._clock,
                random=lambda: 0.5,
            )
        )
        for other in NAMES:
            if other != node_id:
                self.engine.link_up(other, "disk")

    def _clock(self) -> float:
        self.now += CLOCK_STEP_SECONDS
        return self.now

    def hears(self, peer: str, kind: str, **content: int) -> None:
        self.engine.receive(peer, {"type": kind, "from_term": 1, "term": 1, **content})

    def hears_its_leader(self) -> None:
        self.hears("node2", "heartbeat", round=0)

    def is_asked(self, peer: str, *, log_index: int = 1) -> None:
        self.hears(peer, "pre_vote", term=2, last_log_index=log_index, last_log_term=0)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.engine.tick()

    def says(self, kind: str) -> list[str]:
        """To whom it has said this, since it was last looked at."""
        told = [peer for peer, message in self.outbox.sent if message["type"] == kind]
        self.outbox.sent = [each for each in self.outbox.sent if each[1]["type"] != kind]
        return told


MakeStand = Callable[[str], Stand]


@pytest.fixture
def make_stand(tmp_path: Path) -> MakeStand:
    return lambda node_id: Stand(node_id, tmp_path / node_id)


@pytest.fixture
def voter(make_stand: MakeStand) -> Stand:
    """A follower of node2 that hears it."""
    stand = make_stand("node3")
    stand.hears_its_leader()
    return stand


def test_a_voter_that_hears_its_leader_encourages_nobody(voter: Stand) -> None:
    voter.is_asked("node1")
    voter.passes(TIMING.heartbeat)

    assert voter.says("pre_vote_granted") == []


def test_a_question_that_came_too_early_is_granted_when_the_leaders_link_breaks(
    voter: Stand,
) -> None:
    voter.is_asked("node1")

    voter.engine.link_down("node2")
    voter.passes(0.0)

    assert voter.says("pre_vote_granted") == ["node1"]
    assert voter.says("pre_vote") == []  # Whoever was encouraged is given the time to win.


def test_a_question_that_came_too_early_is_granted_when_the_leader_falls_silent(
    voter: Stand,
) -> None:
    voter.passes(TIMING.election_min * 0.9)
    voter.is_asked("node1")

    voter.passes(TIMING.election_min * 0.2)

    assert voter.says("pre_vote_granted") == ["node1"]


def test_a_question_stands_no_longer_than_its_asker_waits(voter: Stand) -> None:
    voter.is_asked("node1")
    for _ in range(6):
        voter.passes(TIMING.heartbeat)
        voter.hears_its_leader()

    voter.engine.link_down("node2")
    voter.passes(0.0)

    assert voter.says("pre_vote_granted") == []


def test_the_break_of_another_link_grants_nothing(make_stand: MakeStand) -> None:
    voter = make_stand("node3")
    voter.hears_its_leader()
    voter.is_asked("node1")

    voter.engine.link_down("node1")
    voter.passes(0.0)

    assert voter.says("pre_vote_granted") == []


def test_a_question_of_an_older_log_is_not_granted_later_either(voter: Stand) -> None:
    voter.is_asked("node1", log_index=0)

    voter.engine.link_down("node2")
    voter.passes(0.0)

    assert voter.says("pre_vote_granted") == []


@pytest.mark.parametrize(
    ("asker", "log_index", "stands_back"),
    [
        pytest.param("node1", 1, True, id="to a lower id"),
        pytest.param("node3", 1, False, id="not to a higher id"),
        pytest.param("node3", 2, True, id="to a newer log"),
        pytest.param("node1", 0, False, id="not to an older log"),
    ],
)
def test_of_two_that_ask_at_once_one_stands_back(
    make_stand: MakeStand, asker: str, log_index: int, *, stands_back: bool
) -> None:
    stand = make_stand("node2")
    stand.hears("node1", "heartbeat", round=0)
    stand.passes(TIMING.election_max)
    assert stand.says("pre_vote") == ["node1", "node3"]

    stand.is_asked(asker, log_index=log_index)
    stand.hears(asker, "pre_vote_granted", term=2)
    stand.passes(0.0)

    assert stand.says("request_vote") == ([] if stands_back else ["node1", "node3"])


def test_who_refuses_a_vote_gives_its_candidate_time_to_win_by_others(voter: Stand) -> None:
    voter.engine.link_down("node2")
    voter.passes(0.01)  # Its turn to ask has not come.
    log = {"last_log_index": 0, "last_log_term": 0}
    candidate = {"type": "request_vote", "from_term": 2, "term": 2, "forced": False, **log}

    voter.engine.receive("node1", candidate)
    voter.passes(TIMING.heartbeat * 0.9)

    assert voter.says("response_vote") == []
    assert voter.says("pre_vote") == []
    voter.passes(TIMING.heartbeat * 0.2)
    assert voter.says("pre_vote") != []


@pytest.mark.parametrize("kind", ["heartbeat", "append_entries"])
def test_a_leader_that_hears_its_successor_helps_nobody_to_depose_it(
    make_stand: MakeStand, kind: str
) -> None:
    stand = make_stand("node2")
    stand.passes(TIMING.election_max)
    stand.hears("node3", "pre_vote_granted", term=1)
    stand.hears("node3", "response_vote")
    stand.passes(0.0)
    assert stand.engine.is_leader
    stand.passes(TIMING.election_min)  # In which nobody answered it.

    entries = {"prevLogIdx": 1, "prevLogTerm": 0, "entries": [], "commit_index": 1}
    successor = {"type": kind, "from_term": 2, "term": 2, "round": 0, **entries}
    stand.engine.receive("node1", successor)
    asking = {"type": "pre_vote", "from_term": 2, "term": 3}
    stand.engine.receive("node3", asking | {"last_log_index": 9, "last_log_term": 1})
    stand.passes(0.0)

    assert stand.engine.leader == "node1"
    assert stand.engine.leader_contact() < TIMING.heartbeat
    assert stand.says("pre_vote_granted") == []
