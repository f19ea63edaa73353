"""The driver on real sockets and real files."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cluster.raft import driver, replicating, wire

MakeGroup = Callable[[int], Awaitable[Any]]


@pytest.mark.parametrize("size", [1, 3, 5])
async def test_what_the_leader_appends_is_applied_by_every_member(
    group: MakeGroup, size: int
) -> None:
    members = await group(size)
    leader = await members.leader()

    commands = [b"command %d" % number for number in range(100)]
    for command in commands:
        leader.append(command)

    for member in members.members.values():
        await member.until(lambda m=member: len(m.applied) == 100)
        assert [command for _, _, command in member.applied] == commands


async def test_another_member_leads_when_the_leader_stops(group: MakeGroup) -> None:
    members = await group(3)
    first = await members.leader()
    index, _ = first.append(b"before")
    await first.until(lambda: first.engine.applied_index >= index)

    await members.stop(first.node_id)
    second = await members.leader()
    second.append(b"after")

    for member in members.members.values():
        await member.until(lambda m=member: len(m.applied) == 2)
    assert second.engine.term > first.engine.term


async def test_a_member_that_was_away_catches_up(group: MakeGroup) -> None:
    members = await group(3)
    leader = await members.leader()
    away = members.followers(leader)[0].node_id
    await members.stop(away)
    for number in range(3_000):
        leader.append(b"%d" % number)
    await leader.until(lambda: len(leader.applied) == 3_000)

    back = await members.start(away)

    await back.until(lambda: len(back.applied) == 3_000)
    assert back.applied == leader.applied


async def test_much_that_waits_for_a_slow_disk_reaches_the_others_in_the_end(
    group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in (
        (wire, "FRAME_BYTES_MAX"),
        (driver, "WRITE_BUFFER_BYTES_MAX"),
        (replicating, "BATCH_BYTES"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name) // 1024)
    members = await group(3)
    leader = await members.leader()
    synced = threading.Event()
    leader.thread.submit(synced.wait)

    for number in range(20):  # More than one frame may hold.
        leader.append(bytes([number]) * 4 * 1024)
        await leader.turn()
    synced.set()

    for member in members.members.values():
        await member.until(lambda m=member: len(m.applied) == 20)
        assert member.failure is None


async def test_only_an_acknowledgement_that_changes_nothing_calls_for_no_turn(
    group: MakeGroup,
) -> None:
    members = await group(3)
    leader = await members.leader()
    engine = leader.engine
    index, term = leader.append(b"one")
    peers = [member.node_id for member in members.followers(leader)]
    await leader.until(
        lambda: (
            all(engine.match_index(peer) == index for peer in peers)
            and engine.applied_index == index
        )
    )
    ack = {"type": "next_node_idx", "from_term": term, "next_node_idx": index + 1, "reset": False}

    assert not engine.receive(peers[0], dict(ack))
    assert engine.receive(peers[0], ack | {"reset": True})

    engine.append(b"two")
    assert engine.receive(peers[0], ack | {"next_node_idx": index + 1})  # It lacks the second.
    assert engine.receive(peers[0], ack | {"next_node_idx": index + 2})  # It commits the second.
    engine.tick()
    assert not engine.receive(peers[0], ack | {"next_node_idx": index + 2})

    assert engine.hand_over(peers[0])
    assert engine.receive(peers[0], ack | {"next_node_idx": index + 2})


async def test_all_members_restart_with_what_was_applied(group: MakeGroup) -> None:
    members = await group(3)
    leader = await members.leader()
    for number in range(50):
        leader.append(b"%d" % number)
    await leader.until(lambda: len(leader.applied) == 50)
    before = list(leader.applied)

    for node_id in list(members.members):
        await members.stop(node_id)
    for node_id in members.addresses:
        await members.start(node_id)

    for member in members.members.values():
        await member.until(lambda m=member: len(m.applied) == 50)
        assert member.applied == before


async def test_a_healthy_follower_does_not_campaign_after_its_loop_stalled(
    group: MakeGroup,
) -> None:
    members = await group(3)
    leader = await members.leader()
    term = leader.engine.term
    follower = members.followers(leader)[0]

    follower.engine.look_for_leader_at(0.0)
    follower.driver.wake()
    index, _ = leader.append(b"still leading")

    await follower.until(lambda: follower.engine.applied_index >= index)
    assert leader.engine.is_leader
    assert leader.engine.term == term


async def test_a_round_is_confirmed_by_a_majority(group: MakeGroup) -> None:
    members = await group(3)
    leader = await members.leader()

    number = leader.engine.begin_round()
    leader.driver.wake()

    await leader.until(lambda: leader.engine.has_confirmed(number))


async def test_a_name_that_is_no_hosts_keeps_only_its_own_node_away(group: MakeGroup) -> None:
    members = await group(3)
    leader = await members.leader()

    leader.driver.learn("node9", f"{'x' * 100}:7600")  # No label of a name is so long.
    leader.append(b"still here")

    for member in members.members.values():
        await member.until(lambda m=member: len(m.applied) == 1)
    assert not leader.driver.mesh._diallers["node9"].done()
