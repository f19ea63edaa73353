"""Logs that are cut where something else has just happened to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.simulation.node import SimulatedNode
from tests.chaos.simulation.findings_stage import Stage, engine


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(segment_bytes=1_000)
    yield stage
    stage.close()


def test_a_log_cut_between_what_was_dropped_and_what_came_instead_is_whole(stage: Stage) -> None:
    """The files of what was dropped end later than those of what came; none of them goes alone."""
    deposed = stage.form()
    stage.cut_off(deposed)
    stage.submit_each(deposed, "alone", 40, timeout_seconds=0.5)
    leader = stage.wait_leader(stage.others(deposed))
    stage.plug(*stage.nodes)
    kept = stage.submit_each(leader, "kept", 25, every=0.01)
    stage.wait(lambda: all(fate.is_acknowledged for fate in kept), within=5.0)
    stage.wait(lambda: stage.has(deposed, kept), within=5.0)

    stage.take_snapshot(deposed)
    deposed.kill()
    deposed.start()

    stage.verify()


def test_a_snapshot_that_took_too_long_cuts_nothing_off_a_newer_ones_log(stage: Stage) -> None:
    """A node is sent a snapshot while it takes one of its own, and goes on from that."""
    leader = stage.form()
    slow, other = stage.others(leader)
    stage.do("slow_disk", slow.name, 2.0, 2.0)
    own = stage.call(slow, lambda replica: replica._snapshots.take())
    stage.run(0.01)
    stage.do("mend_disks")
    stage.cut_off(slow)
    stage.submit_each(leader, "missed", 20)
    stage.take_snapshot(leader)
    stage.plug(*stage.nodes)
    first = engine(leader).log.first_index
    stage.wait(lambda: engine(slow).log.first_index == first, within=1.5)
    stage.run(1.5)

    stage.isolate(other)
    stage.do("mute", slow.name)  # It gets what comes, and nobody hears of it: none is committed.
    stage.submit_each(leader, "after", 80, timeout_seconds=0.5)
    assert not own.is_ended
    stage.wait(lambda: own.is_ended, within=1.0)

    assert engine(slow).log.first_index == first
    stage.verify()


def test_a_leader_that_is_back_sends_the_snapshot_that_another_had_begun_to_send(
    stage: Stage,
) -> None:
    """A transfer that its receiver gave up for another one's is over for its sender, too."""
    leader = stage.form()
    behind, other = stage.others(leader)
    stage.cut_off(behind)
    missed = stage.submit_each(leader, "missed", 20)
    stage.wait(lambda: stage.has(other, missed), within=1.0)
    for node in (leader, other):
        stage.take_snapshot(node)
    stage.do("slow_disk", behind.name, 1.5, 1.5)
    stage.plug(*stage.nodes)
    stage.wait(lambda: sender_to(behind) == leader.name, within=1.0)
    stage.run(0.01)
    stage.do("mend_disks")  # But for the write in hand: nothing that was sent is answered yet.

    for now, successor in ((leader, other), (other, leader)):
        stage.call(now, lambda replica, to=successor.name: replica.change_leader(to))
        stage.wait(lambda to=successor.name: sender_to(behind) == to, within=1.0)

    stage.wait(lambda: stage.has(behind, missed), within=5.0)
    stage.verify()


def sender_to(node: SimulatedNode) -> str | None:
    """Who sends *node* a snapshot, as far as that knows."""
    assert node.replica is not None
    transfer = node.replica._snapshots._receiver._transfer
    return None if transfer is None else transfer.peer
