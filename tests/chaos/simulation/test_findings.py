"""What an audit of pysyncobj 0.3.17 found, each as a scenario that ours must survive.

R numbers are the audit's, D numbers those of docs/raft.md. Every scenario was first run on the
stock library; its docstring says what came of it there. All of them end in `Stage.verify`: nothing
acknowledged is lost or done twice, every proposal has ended, one leader a term, all nodes agree.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import msgpack
import pytest

from chaos.simulation.node import SimulatedNode
from chaos.simulation.world import READ_SECONDS
from cluster import crashpoints
from cluster.core import machine as machine_module
from cluster.core.commands import Complete, Refusal, Submit
from cluster.core.model import NewTask
from cluster.errors import (
    ChangeRefused,
    NoQuorum,
    NotCommitted,
    OutcomeUnknown,
    StorageDamaged,
)
from cluster.raft import replicating as replicating_module
from cluster.raft.contract import Timing
from cluster.replica import Replica
from tests.chaos.simulation.findings_stage import Fate, Stage, engine

MakeStage = Callable[..., Stage]

PAYLOAD = b"." * 300
SMALL_BATCH_BYTES = 2_000  # Six such payloads: a long log travels in many messages.


@pytest.fixture
def make_stage() -> Iterator[MakeStage]:
    """Make stages; their processes end with the test."""
    made: list[Stage] = []

    def make(seed: int = 1, **options: object) -> Stage:
        made.append(Stage(seed, **options))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """Three nodes."""
    return make_stage()


# Snapshots.


def test_snapshot_chunks_do_not_move_the_commit_index(stage):
    """R1 (D1). A cut-off leader with an uncommitted tail is sent a snapshot in chunks.

    pysyncobj 0.3.17: the first chunk commits that tail; 5 of 5 lost commands are told SUCCESS.
    """
    leader = stage.form()
    stage.submit_each(leader, "base", 5)
    stage.run(1.0)
    stage.cut_off(leader)
    lost = stage.submit_each(leader, "lost", 5)
    stage.run(0.2)
    committed = engine(leader).commit_index
    successor = stage.wait_leader(stage.others(leader))
    stage.submit_each(successor, "new", 50)
    stage.run(1.0)
    stage.take_snapshot(successor)
    seen: list[int] = []

    def watch(_source: str, target: str, kind: str, _content: object) -> bool:
        if kind == "frame" and target == leader.name:
            seen.append(engine(leader).commit_index)
        return True

    stage.gate = watch
    stage.do("heal")
    stage.wait(lambda: engine(leader).applied_index > committed, within=5.0)

    assert len(seen) >= 2
    assert set(seen) == {committed}
    stage.verify()
    assert all(isinstance(fate.error, OutcomeUnknown) for fate in lost)
    assert not stage.committed().keys() & {fate.tag for fate in lost}


def test_a_proposal_behind_an_installed_snapshot_ends(stage):
    """R5 (D9). A follower's own command reaches it only inside a snapshot.

    pysyncobj 0.3.17: applied, yet the callback still waits after 60 s.
    """
    leader = stage.form()
    follower, _ = stage.others(leader)
    stage.gate = lambda _source, target, kind, content: (
        kind != "append_entries" or target != follower.name or not content["entries"]
    )
    forwarded = stage.submit(follower, "forwarded")
    stage.run(0.3)
    stage.submit_each(leader, "later", 20)
    stage.run(0.5)
    stage.take_snapshot(leader)
    assert not forwarded.is_ended
    stage.gate = None

    stage.wait(lambda: stage.has(follower, [forwarded]), within=2.0)

    stage.wait(lambda: forwarded.is_ended, within=0.1)
    assert isinstance(forwarded.error, OutcomeUnknown)
    stage.verify()
    assert stage.committed()["forwarded"] == 1


def test_a_snapshot_newer_than_the_beginning_of_the_log_keeps_the_tail(stage):
    """R9 (D4). A node dies between its snapshot's rename and the cut of its log.

    pysyncobj 0.3.17: the restart drops the journal's tail, 32 entries become 12; with the leader
    gone, 0 of 20 acknowledged commands survive.
    """
    leader = stage.form()
    follower, laggard = stage.others(leader)
    stage.cut_off(laggard)
    stage.submit_each(leader, "before", 10)
    stage.run(1.0)
    follower.host.disk.sync_seconds = (0.02, 0.02)  # The snapshot takes its time.
    with _armed("snapshot.taken", follower.kill):
        stage.call(follower, _take_snapshot)
        acknowledged = stage.submit_each(leader, "during", 20, every=0.0005)
        stage.wait(lambda: all(fate.is_acknowledged for fate in acknowledged), within=2.0)
        stage.wait(lambda: not follower.is_up, within=2.0)
    follower.host.disk.sync_seconds = (0.0003, 0.001)
    stage.unplug(leader, follower)
    leader.kill()
    snapshots = [name for name in follower.host.disk.files if name.endswith(".snapshot")]
    assert len(snapshots) == 1
    follower.start()
    stage.run(0.01)

    assert int(snapshots[0].split("-")[0]) < engine(follower).log.last_index
    stage.plug(follower, laggard)
    successor = stage.wait_leader([follower, laggard])
    stage.wait(lambda: stage.has(successor, acknowledged), within=1.0)
    stage.verify()


@pytest.mark.parametrize("harm", ["emptied", "missing", "flipped"])
def test_a_damaged_snapshot_stops_the_node_and_is_named(make_stage, harm):
    """R12 (D6). A snapshot that the log no longer reaches back before cannot be read.

    pysyncobj 0.3.17: ignored; the node led with an empty state, and its commands hung for 30 s.
    """
    stage = make_stage(segment_bytes=500)
    leader = stage.form()
    acknowledged = stage.submit_each(leader, "kept", 10)
    stage.run(1.0)
    for node in stage.nodes:
        stage.take_snapshot(node)
    stage.submit_each(leader, "after", 10)
    stage.run(0.5)
    follower = stage.others(leader)[0]
    follower.kill()
    files = follower.host.disk.files
    name = next(name for name in files if name.endswith(".snapshot"))
    match harm:
        case "emptied":
            del files[name].content[:]
        case "missing":
            del files[name]
        case "flipped":
            files[name].content[len(files[name].content) // 2] ^= 1
    stage.may_fail.add(follower.name)

    follower.start()
    stage.run(0.5)

    assert not follower.is_up
    assert isinstance(stage.failures[follower.name], StorageDamaged)
    named = name if harm != "missing" else "a snapshot is missing"
    assert named in str(stage.failures[follower.name])
    stage.submit_each(leader, "meanwhile", 5)
    follower.renew()  # As the message says.
    stage.verify()
    assert stage.has(follower, acknowledged)


# Truncation.


def test_entries_sent_again_truncate_nothing(make_stage, monkeypatch):
    """R2 (D2). A long tail is sent twice, as two refusals were on their way; the leader dies.

    pysyncobj 0.3.17: the follower's log falls from 42 entries to 9 after all 40 commands were
    acknowledged; 7 survive.
    """
    monkeypatch.setattr(replicating_module, "BATCH_BYTES", SMALL_BATCH_BYTES)
    stage = make_stage(latency=(0.08, 0.08))  # There and back takes longer than a heartbeat.
    leader = stage.form()
    follower, laggard = stage.others(leader)
    stage.run(1.0)
    stage.unplug(*stage.nodes)
    acknowledged = stage.submit_each(leader, "kept", 40, payload=PAYLOAD)
    stage.wait(lambda: not engine(leader).is_leader, within=3.0)
    again = 0

    def count_again(_source: str, target: str, kind: str, content: dict[str, list]) -> bool:
        nonlocal again
        if target == follower.name and kind == "append_entries" and content["entries"]:
            again += content["entries"][-1][1] <= engine(follower).log.last_index
        return True

    stage.gate = count_again
    ends = _ends_since_all_acknowledged(stage, follower, acknowledged)
    stage.plug(leader, follower)
    stage.wait(lambda: bool(ends), within=10.0)
    stage.happens(lambda: ends[-1] < ends[0], within=1.0)  # The worst moment.
    leader.kill()
    stage.gate = stage.on_turn = None
    stage.plug(follower, laggard)
    successor = stage.wait_leader([follower, laggard])

    assert again >= 5
    assert all(later >= earlier for earlier, later in pairwise(ends))
    assert stage.has(successor, acknowledged)
    stage.plug(leader, follower, laggard)
    stage.verify()


@pytest.mark.parametrize(
    ("batch", "latency"),
    [
        pytest.param({"BATCH_BYTES": SMALL_BATCH_BYTES}, 0.03, id="R2b"),
        pytest.param({"BATCH_ENTRIES": 1}, 0.001, id="R2c"),
    ],
)
def test_what_was_in_flight_on_a_broken_link_is_sent_again_and_nothing_is_lost(
    make_stage, monkeypatch, batch, latency
):
    """R2b, R2c (D2). The link breaks with a long tail in flight, comes back; the leader dies.

    No hand on anyone's inside. pysyncobj 0.3.17: 21 of 40 acknowledged commands survive in R2b, the
    tenth of 30 seeds; none of 30 hits it in R2c, with entries sent one by one within 1 ms.
    """
    for name, value in batch.items():
        monkeypatch.setattr(replicating_module, name, value)
    _time(monkeypatch, heartbeat=0.05)
    for seed in range(5):
        stage = make_stage(seed, latency=(latency, latency * 1.5))
        leader = stage.form()
        follower, laggard = stage.others(leader)
        stage.run(1.0)
        stage.cut_off(laggard)
        every = latency / 20
        fates = stage.submit_each(leader, "first", 20, payload=PAYLOAD, every=every)
        stage.do("reset", leader.name, follower.name)
        fates += stage.submit_each(leader, "then", 40, payload=PAYLOAD, every=every)
        ends = _ends_since_all_acknowledged(stage, follower, fates)
        stage.wait(lambda ends=ends: bool(ends), within=5.0)
        stage.happens(lambda ends=ends: ends[-1] < ends[0], within=0.3)  # The worst moment.
        leader.kill()
        stage.on_turn = None
        stage.plug(laggard, follower)
        successor = stage.wait_leader([laggard, follower])

        assert all(fate.is_acknowledged for fate in fates)
        assert stage.has(successor, fates)
        stage.plug(laggard, leader)
        stage.verify()


@pytest.mark.parametrize("entries", [50, 200, 800])
def test_divergent_entries_rejoin_within_two_seconds(stage, entries):
    """R21 (D11). A leader in silent isolation and its successor each append as many entries.

    pysyncobj 0.3.17, one step back a heartbeat: 5.2 s for 50 entries, 20.3 s for 200, 80.6 s for
    800.
    """
    leader = stage.form()
    stage.run(0.5)
    stage.isolate(leader)
    every = 0.5 / entries
    stage.submit_each(leader, "lost", entries, every=every)
    successor = stage.wait_leader(stage.others(leader))
    stage.submit_each(successor, "kept", entries, every=every)
    stage.run(2.0)
    assert engine(leader).log.last_index - engine(leader).commit_index >= entries
    stage.do("heal")

    took = stage.wait(
        lambda: (
            engine(leader).log.last_index == engine(successor).log.last_index
            and engine(leader).log[-1][2] == engine(successor).log[-1][2]
        ),
        within=200.0,
    )

    assert took < 2.0
    stage.verify()


# Votes and terms.


@pytest.mark.parametrize(
    "how", [pytest.param("cut_power", id="R3"), pytest.param("kill", id="R3b")]
)
def test_a_voter_that_restarts_remembers_its_vote(make_stage, how):
    """R3, R3b (D14). A voter restarts and meets the one that it did not vote for.

    pysyncobj 0.3.17 with its journal in memory: two leaders of term 1. With a journal file that
    survives: none in 60 runs.
    """
    for seed in range(8):
        stage = make_stage(seed)
        stage.form()
        for node in stage.nodes:
            stage.do(how, node.name)
        one, other, third = stage.nodes
        stage.cut_off(third)
        for node in stage.nodes:
            node.start()
        stage.gate = lambda _source, _target, kind, _content: kind != "append_entries"
        stage.wait(lambda one=one, other=other: _leads(one) or _leads(other), within=5.0)
        winner, voter = (one, other) if _leads(one) else (other, one)
        term = engine(winner).term  # Of which the voter knows by its vote alone.
        stage.unplug(winner, voter)
        stage.do(how, voter.name)
        voter.start()
        stage.gate = None
        stage.plug(voter, third)
        successor = stage.wait_leader([voter, third])

        assert engine(successor).term > term
        stage.plug(winner, voter)
        stage.plug(winner, third)
        stage.verify()  # The judge has watched: one leader a term.


def test_a_leader_without_a_majority_stops_in_time(stage):
    """R16. A leader is cut off in silence.

    pysyncobj 0.3.17: steps down after 30.0 s, 29.4 s of them beside its successor; the callback of
    what was submitted there fires after the heal, at 90 s.
    """
    leader = stage.form()
    stage.submit(leader, "before")
    stage.run(0.5)
    stage.isolate(leader)
    stale = stage.submit(leader, "stale", timeout_seconds=5.0)
    since = stage.world.now

    succeeded = stage.wait(lambda: len(stage.leaders()) == 2, within=3.0)
    stepped_down = stage.wait(lambda: not engine(leader).is_leader, within=3.0, since=since)

    assert succeeded < 1.2
    assert stepped_down < 1.2
    stage.wait(lambda: stale.is_ended, within=6.0)
    assert stale.ended_at - since < 5.2
    assert isinstance(stale.error, OutcomeUnknown)
    stage.verify()


def test_a_leader_that_is_deaf_is_succeeded_in_time(stage):
    """R17. The leader is heard but hears nobody.

    pysyncobj 0.3.17: a new leader after 30.5 s; after 1.1 s with a leaderFallbackTimeout of 0.6.
    """
    leader = stage.form()
    stage.run(1.0)
    term = stage.newest_term()
    stage.do("deafen", leader.name)
    changes = _changes_of_leader(stage)

    took = stage.wait(
        lambda: any(engine(other).is_leader for other in stage.others(leader)), within=60.0
    )
    stage.run(30.0)

    assert took < 2.5
    assert len(changes) <= 3  # The old one, nobody, the new one.
    assert stage.newest_term() == term + 1
    stage.verify()


def test_a_follower_that_is_deaf_to_its_leader_deposes_nobody(stage):
    """R17. One follower does not hear the leader, but everyone else.

    pysyncobj 0.3.17: the leader is deposed after 0.66 s, by that follower.
    """
    leader = stage.form()
    stage.run(1.0)
    term = stage.newest_term()
    stage.do("cut", leader.name, stage.others(leader)[0].name)
    changes = _changes_of_leader(stage)

    stage.run(30.0)

    assert len(changes) == 1
    assert stage.newest_term() == term
    stage.verify()


def test_a_ring_of_one_way_cuts_inflates_no_term(stage):
    """R17 (D12). Each node hears one neighbour, and is heard by the other.

    pysyncobj 0.3.17: from term 1 to 116 in 60 s.
    """
    stage.form()
    stage.run(1.0)
    term = stage.newest_term()
    stage.do("ring")

    stage.run(60.0)

    assert stage.newest_term() - term <= 1
    stage.verify()


def test_a_node_in_silent_isolation_inflates_no_term_and_deposes_nobody(stage):
    """R17. A follower is cut off for 20 s in silence and comes back.

    pysyncobj 0.3.17: from term 1 to 34 meanwhile; the healthy leader falls 0.45 s after the heal.
    """
    leader = stage.form()
    stage.run(1.0)
    term = stage.newest_term()
    stage.isolate(stage.others(leader)[0])
    changes = _changes_of_leader(stage)

    stage.run(20.0)
    stage.do("heal")
    stage.run(10.0)

    assert len(changes) == 1
    assert stage.newest_term() == term
    stage.verify()


def test_a_deadline_between_two_looks_at_the_clock_raises_no_term(stage):
    """R17. The election deadline passes between our look at the clock and pysyncobj's own.

    pysyncobj 0.3.17 has no pre-vote: it would raise its term, and count the votes of an earlier
    candidacy with the new ones.
    """
    leader = stage.form()
    stage.run(1.0)
    term = stage.newest_term()
    follower = engine(stage.others(leader)[0])
    mind = follower._mind_the_election
    passed = 0

    def mind_just_before() -> None:
        nonlocal passed
        passed += 1
        follower.look_for_leader_at(stage.world.now + 1.5 * READ_SECONDS)
        mind()

    follower._mind_the_election = mind_just_before
    stage.run(1.0)
    del follower._mind_the_election

    assert passed > 10
    assert stage.newest_term() == term
    assert engine(leader).is_leader
    stage.verify()


def test_a_stale_leader_hears_of_the_newer_term_from_whoever_it_reaches(stage, monkeypatch):
    """R17 (D12). A stale leader hears a follower of its successor, never the successor itself.

    With the fallback of 30 s that is pysyncobj's default, only the answer to its old term can end
    its leadership; pysyncobj 0.3.17 drops messages of an old term in silence.
    """
    _time(monkeypatch, leader_fallback=30.0)
    leader = stage.form()
    stage.run(1.0)
    stage.isolate(leader)
    successor = stage.wait_leader(stage.others(leader))
    follower = next(node for node in stage.others(leader) if node is not successor)
    stage.do("heal")
    stage.do("cut", successor.name, leader.name)
    assert engine(leader).is_leader

    took = stage.wait(lambda: not engine(leader).is_leader, within=40.0)

    assert took < 1.0
    assert engine(leader).term == engine(follower).term == engine(successor).term
    stage.verify()


# Proposals.


def test_a_forwarded_command_ends_whatever_happens_to_the_link(stage):
    """R4 (D8). The link blips with a command in flight; is down for 0.1 s; is cut off for good.

    pysyncobj 0.3.17: none of the three callbacks has fired 120 s later, and the isolated follower
    still names its leader.
    """
    leader = stage.form()
    follower, _ = stage.others(leader)
    stage.gate = lambda _source, _target, kind, _content: kind != "propose"  # Lost on the way,
    in_flight = stage.submit(follower, "in-flight", timeout_seconds=5.0)
    stage.run(0.005)
    stage.gate = None
    stage.do("reset", leader.name, follower.name)  # as the link is.
    stage.run(0.5)
    stage.unplug(leader, follower)
    stage.run(0.01)
    down = stage.submit(follower, "down", timeout_seconds=5.0)
    stage.run(0.1)
    stage.plug(leader, follower)
    stage.wait(lambda: in_flight.is_ended and down.is_ended, within=1.0)
    stage.cut_off(follower)
    stage.run(10.0)
    status = follower.replica.status()
    asked_at = stage.world.now
    isolated = stage.submit(follower, "isolated", timeout_seconds=5.0)
    stage.wait(lambda: isolated.is_ended, within=10.0)

    assert in_flight.is_acknowledged
    assert down.is_acknowledged
    assert isinstance(isolated.error, NoQuorum)
    assert isolated.ended_at - asked_at < 5.2
    assert status.leader is None
    assert not status.has_quorum
    stage.verify()


def test_a_callers_bug_does_not_apply_an_entry_twice(stage):
    """R6 (D7). Whoever is told of a commit raises.

    pysyncobj 0.3.17: the leader applies the entry again, its state differs from the followers'.
    """
    stage.may_go_wrong = True
    leader = stage.form()

    async def careless(replica: Replica) -> None:
        future = asyncio.ensure_future(replica.propose(Submit((_task("careless"),))))
        future.add_done_callback(_raise_a_bug)
        await future
        raise RuntimeError("a bug of the caller's")

    stage.call(leader, careless)
    stage.run(1.0)
    after = stage.submit(leader, "after")
    stage.run(0.5)
    for node in stage.nodes:
        node.process.sweep_tasks()

    assert [str(error) for error in stage.went_wrong_with].count("a bug of the caller's") == 1
    assert "a bug of a callback's" in [str(error) for error in stage.went_wrong_with]
    assert after.is_acknowledged
    assert stage.committed()["careless"] == 1
    stage.fates.pop(0)  # Its process broke before it could tell.
    stage.verify()


def test_a_watchers_bug_stops_its_node_and_does_not_apply_an_entry_twice(stage):
    """R6 (D7). A bug in what an applied entry is told to: the entry must not be tried again.

    pysyncobj 0.3.17: the leader applies it twice and goes on.
    """
    leader = stage.form()
    stage.may_fail.add(leader.name)
    applied: list[int] = []
    machine = leader.replica.machine
    apply_entry = machine.apply_entry

    def note(*given: object, index: int, **named: object) -> object:
        applied.append(index)
        return apply_entry(*given, index=index, **named)

    machine.apply_entry = note
    leader.replica.watch().wake = _raise_a_bug
    watched = stage.submit(leader, "watched")
    stage.wait(lambda: not leader.is_up, within=1.0)
    successor = stage.wait_leader(stage.others(leader))
    after = stage.submit(successor, "after")
    stage.run(0.5)

    assert str(stage.failures[leader.name]) == "a bug of a callback's"
    assert len(applied) == len(set(applied)) == 1
    assert watched.is_ended
    assert after.is_acknowledged
    stage.verify()
    assert stage.committed()["watched"] == 1


def test_a_bad_command_is_refused_and_those_after_it_go_on(stage):
    """R7 (D7). A command that cannot be done.

    pysyncobj 0.3.17: an exception in apply wedges all three nodes for ever; the command after it
    has not been answered 30 s later, after some 3,000 exceptions on each node.
    """
    leader = stage.form()
    for node in stage.nodes:
        bad = stage.call(node, lambda replica: replica.propose(Complete("unknown", 7, b"")))
        after = stage.submit(node, f"after-{node.name}")
        stage.wait(lambda bad=bad, after=after: bad.is_ended and after.is_ended, within=1.0)

        assert bad.value.reply.refusal is Refusal.TASK_UNKNOWN
        assert after.is_acknowledged
    assert engine(leader).is_leader
    stage.verify()


def test_a_bug_in_apply_stops_the_process_loudly_and_only_where_it_is(stage):
    """R7 (D7). An entry whose application raises, on one node: no wedge, no silence.

    pysyncobj 0.3.17: the node goes on without ever applying anything again.
    """
    leader = stage.form()
    follower, _ = stage.others(leader)
    stage.may_fail.add(follower.name)
    follower.replica.machine.apply_entry = _raise_a_bug

    told = stage.submit(follower, "poison")
    through_leader = stage.submit(leader, "after")
    stage.wait(lambda: not follower.is_up, within=1.0)
    stage.run(0.5)

    assert str(stage.failures[follower.name]) == "a bug of a callback's"
    assert told.is_ended
    assert through_leader.is_acknowledged
    stage.verify()


def test_what_is_no_command_never_reaches_the_log(stage):
    """R7 (D7). A member hands over garbage, or a command that only a newer program knows.

    In the log it would stop every node, at every start.
    """
    leader = stage.form()
    follower, _ = stage.others(leader)
    for packed in (b"\xc1garbage", msgpack.packb([200, "new"])):
        handed = ["propose", engine(leader).term, "someone", 1, [packed]]
        follower.replica._driver.tell(leader.name, handed)
        stage.run(0.5)
        after = stage.submit(follower, f"after-{len(packed)}")
        stage.wait(lambda after=after: after.is_ended, within=2.0)

        assert after.is_acknowledged
        assert engine(leader).is_leader
    stage.verify()


def test_a_poisonous_command_stops_every_process_and_wedges_none(stage, monkeypatch):
    """R7 (D7). An entry whose application raises everywhere: nobody may serve as if it had not.

    Once the bug is mended, the log is applied from where it was, and the command with it.
    """
    leader = stage.form()
    kept = stage.submit(leader, "kept")
    stage.run(0.5)
    stage.may_fail.update(node.name for node in stage.nodes)
    with monkeypatch.context() as patch:
        table = {**machine_module._COMMANDS, Submit: _raise_a_bug}
        patch.setattr(machine_module, "_COMMANDS", table)
        poison = stage.submit(leader, "poison", timeout_seconds=5.0)
        stage.wait(lambda: not any(node.is_up for node in stage.nodes), within=5.0)
    assert set(stage.failures) == {node.name for node in stage.nodes}
    assert poison.is_ended
    assert not poison.is_acknowledged

    stage.may_fail.clear()
    for node in stage.nodes:
        node.start()
    leader = stage.wait_leader(stage.nodes)
    after = stage.submit(leader, "after")
    stage.wait(lambda: after.is_ended, within=1.0)

    assert after.is_acknowledged
    assert stage.has(leader, [kept])
    stage.verify()


def test_an_answer_to_an_earlier_request_reaches_no_later_one_after_a_restart(make_stage):
    """R18 (D10). A follower restarts while the leader, stalled, holds its old command.

    pysyncobj 0.3.17: the new command, which never reached anyone, is told SUCCESS with the old
    one's result.
    """
    committed_old = 0
    for seed in range(6):
        stage = make_stage(seed)
        leader = stage.form()
        follower, _ = stage.others(leader)
        stage.run(0.5)
        old = stage.submit(follower, "old")
        stage.run(0.0001)
        stage.do("pause", leader.name, 0.2)
        stage.run(0.02)
        stage.do("kill", follower.name)
        follower.start()
        stage.run(0.02)
        stage.gate = lambda _source, _target, kind, content: (
            kind != "propose" or b"new" not in content[-1][0]
        )
        new = stage.submit(follower, "new", timeout_seconds=3.0)
        stage.wait(lambda new=new: new.is_ended, within=4.0)

        assert old.is_broken
        assert isinstance(new.error, OutcomeUnknown | NotCommitted)
        assert stage.committed()["new"] == 0
        committed_old += stage.committed()["old"]
        stage.verify()
    assert committed_old  # Or nothing was there to be mistaken.


@pytest.mark.parametrize("reached", ["another follower", "nobody"])
def test_a_forwarded_command_whose_leader_died_is_told_its_true_end(stage, reached):
    """R20 (D8). The leader took a follower's command and died before the follower heard of it.

    pysyncobj 0.3.17: LEADER_CHANGED, though the command was applied.
    """
    leader = stage.form()
    follower, other = stage.others(leader)
    stage.run(0.5)
    spared = {follower.name} if reached == "another follower" else {follower.name, other.name}
    stage.gate = lambda _source, target, kind, content: (
        kind != "append_entries" or target not in spared or not content["entries"]
    )
    ambiguous = stage.submit(follower, "ambiguous")
    stage.run(0.1)
    assert not ambiguous.is_ended
    leader.kill()
    stage.gate = None

    stage.wait(lambda: ambiguous.is_ended, within=5.0)

    assert ambiguous.is_acknowledged
    assert stage.has(follower, [ambiguous])
    stage.verify()
    assert stage.committed()["ambiguous"] == 1


# Members and disks.


def test_members_change_one_at_a_time(make_stage):
    """R8 (D3). A leader on the smaller side of a partition is asked to remove the larger one.

    pysyncobj 0.3.17: three times SUCCESS; then two leaders, each with a majority of its own, and
    writes committed on both sides.
    """
    stage = make_stage(nodes=5)
    leader = stage.form()
    stage.run(0.5)
    near, *far = stage.others(leader)
    for node in far:
        stage.unplug(leader, node)
        stage.unplug(near, node)
    removals = [
        stage.call(
            leader, lambda replica, node=node: replica.remove_member(node.name, timeout_seconds=5)
        )
        for node in far
    ]
    stage.run(3.0)
    here = stage.submit(near, "here", timeout_seconds=2.0)
    there = stage.submit(far[0], "there", timeout_seconds=2.0)
    stage.wait(lambda: all(fate.is_ended for fate in stage.fates), within=6.0)

    assert not any(fate.is_acknowledged for fate in removals)
    assert [type(fate.error) for fate in removals[1:]] == [ChangeRefused, ChangeRefused]
    assert isinstance(here.error, NotCommitted | OutcomeUnknown)
    assert there.is_acknowledged
    assert {name for name, _ in stage.leaders()} <= {node.name for node in far}
    stage.plug(*stage.nodes)
    stage.verify()
    assert len(engine(leader).configuration.members) == 5


def test_a_change_of_members_that_may_have_happened_is_told_so(stage):
    """R8. A leader appends a removal, is cut off and steps down: the entry may yet be committed."""
    leader = stage.form()
    away = stage.others(leader)[0]
    stage.cut_off(leader)
    removal = stage.call(
        leader, lambda replica: replica.remove_member(away.name, timeout_seconds=3)
    )
    stage.wait(lambda: removal.is_ended, within=4.0)

    assert engine(leader).is_changing
    assert isinstance(removal.error, OutcomeUnknown)


def test_a_change_asked_of_a_follower_is_no_surer_than_its_leader(stage):
    """A leader that is deposed amid a removal says so to the follower that had passed it on."""
    leader = stage.form()
    asked, away = stage.others(leader)
    stage.gate = lambda source, _target, kind, _content: (
        source != leader.name or kind not in ("append_entries", "heartbeat")
    )
    removal = stage.call(
        asked, lambda replica: replica.remove_member(away.name, timeout_seconds=10)
    )
    stage.wait(lambda: removal.is_ended, within=9.0)

    assert isinstance(removal.error, OutcomeUnknown)
    assert "before the change was committed" in str(removal.error)
    stage.verify()


def test_no_commit_index_is_trusted_beyond_the_log(make_stage):
    """R11 (D5). The power of all nodes fails with a generation written and not yet synced.

    pysyncobj 0.3.17: its commit index came back as 12 with a log that ended at 7; the leader, cut
    off, told SUCCESS of a command that nobody else had.
    """
    for milliseconds in (10, 30, 60, 90, 120):
        stage = make_stage(milliseconds)
        leader = stage.form()
        kept = stage.submit_each(leader, "kept", 10)
        stage.run(1.0)
        for node in stage.nodes:
            node.host.disk.sync_seconds = (0.05, 0.05)
        stage.submit_each(leader, "torn", 5, every=0.001)
        stage.run(milliseconds / 1000)
        for node in stage.nodes:
            stage.do("cut_power", node.name)
            node.host.disk.sync_seconds = (0.0003, 0.001)
        for node in stage.nodes:
            node.start()
        stage.run(0.01)
        assert all(engine(node).commit_index <= engine(node).log.last_index for node in stage.nodes)
        leader = stage.wait_leader(stage.nodes)
        stage.isolate(leader)
        alone = stage.submit(leader, "alone", timeout_seconds=2.0)
        stage.wait(lambda alone=alone: alone.is_ended, within=3.0)

        assert isinstance(alone.error, OutcomeUnknown)
        assert stage.has(leader, kept)
        stage.verify()


def test_a_wiped_disk_neither_votes_nor_counts(stage):
    """With one node cut off and another one's disk wiped, those two are no majority.

    pysyncobj 0.3.17: they elect a leader, and 20 acknowledged writes are lost though a majority's
    disks were whole.
    """
    leader = stage.form()
    wiped, absent = stage.others(leader)
    stage.cut_off(absent)
    acknowledged = stage.submit_each(leader, "kept", 20)
    stage.wait(lambda: all(fate.is_acknowledged for fate in acknowledged), within=1.0)
    stage.unplug(leader, wiped)
    stage.do("wipe", wiped.name)
    wiped.start()
    stage.run(0.1)
    stage.plug(wiped, absent)

    assert not stage.happens(
        lambda: engine(wiped).is_leader or engine(absent).is_leader, within=10.0
    )
    stage.plug(*stage.nodes)
    leader = stage.wait_leader(stage.nodes)
    assert stage.has(leader, acknowledged)
    stage.verify()
    stage.wait(lambda: engine(wiped).is_member, within=5.0)  # Caught up, and bound anew.


def test_a_change_that_may_be_undone_is_not_taken_for_done(stage):
    """To ask again for a change is answered by the members, once they are sure to stay."""
    leader = stage.form()
    removed, _ = others = stage.others(leader)
    stage.cut_off(leader)
    asked = []
    for _ in range(2):
        asked.append(stage.call(leader, lambda replica: _remove(replica, removed.name)))
        stage.wait(lambda: asked[-1].is_ended, within=0.5)

    assert all(isinstance(fate.error, OutcomeUnknown) for fate in asked)
    stage.wait_leader(others)
    stage.verify()
    assert removed.name in stage.cluster.members


async def _remove(replica: Replica, name: str) -> None:
    await replica.remove_member(name, timeout_seconds=0.2)


async def _take_snapshot(replica: Replica) -> None:
    await replica._snapshots.take()


def _leads(node: SimulatedNode) -> bool:
    return node.replica is not None and engine(node).is_leader


def _raise_a_bug(*_given: object, **_named: object) -> None:
    raise RuntimeError("a bug of a callback's")


def _task(task_id: str) -> NewTask:
    return NewTask.of(task_id, "echo", b"", "text/plain", submitted_by=task_id)


def _changes_of_leader(stage: Stage) -> list[list[tuple[str, int]]]:
    """Who leads, from now on: one item for each time that it is someone else."""
    changes = [stage.leaders()]

    def note(_node: object) -> None:
        now = stage.leaders()
        if now != changes[-1]:
            changes.append(now)

    stage.on_turn = note
    return changes


def _time(monkeypatch, **changes):
    """Have every node's timing be the usual one, but for *changes*."""
    monkeypatch.setattr(Timing, "of", lambda _election_seconds: Timing(**changes))


def _ends_since_all_acknowledged(
    stage: Stage, follower: SimulatedNode, fates: list[Fate]
) -> list[int]:
    """Where the follower's log ends, turn by turn, from the last acknowledgement on."""
    ends: list[int] = []

    def note(node: SimulatedNode) -> None:
        if node is follower and all(fate.is_acknowledged for fate in fates):
            ends.append(engine(follower).log.last_index)

    stage.on_turn = note
    return ends


@contextmanager
def _armed(point: str, do: Callable[[], None]) -> Iterator[None]:
    """Have something done when the crash point *point* is passed."""
    crashpoints.arm(lambda name: do() if name == point else None)
    try:
        yield
    finally:
        crashpoints.arm(None)
