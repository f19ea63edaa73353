"""The driver on real sockets and real files."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cluster.errors import StorageError
from cluster.raft import driver, replicating, wire

MakeGroup = Callable[[int], Awaitable[Any]]


def hold_up_the_disk(member: Any) -> threading.Event:
    """Have the member's log wait until the event is set, or for as long as a test may take."""
    synced = threading.Event()
    member.thread.submit(synced.wait, 30)
    return synced


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
    synced = hold_up_the_disk(leader)

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


async def test_a_leader_that_has_failed_is_followed_no_longer(group: MakeGroup) -> None:
    members = await group(3)
    leader = await members.leader()
    one, other = members.followers(leader)
    synced = hold_up_the_disk(leader)
    leader.append(b"on its way to a disk that fails")
    await leader.turn()

    leader.driver.fail(StorageError("the disk is gone"))

    await one.until(lambda: one.engine.is_leader or other.engine.is_leader)
    synced.set()


async def test_a_leader_whose_disk_stands_still_for_long_is_succeeded(
    group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = await group(3)
    leader = await members.leader()
    one, other = members.followers(leader)
    monkeypatch.setattr(replicating, "STALL_TIMEOUTS", 1)
    synced = hold_up_the_disk(leader)

    leader.append(b"on its way to a disk that stands still")

    async with asyncio.timeout(10):
        while leader.engine.is_leader:
            leader.engine.begin_round()  # Reads make it heard; they must not keep it leading.
            await leader.turn()
    await one.until(lambda: one.engine.is_leader or other.engine.is_leader)
    synced.set()


async def test_a_round_is_asked_for_again_where_a_link_comes_back(group: MakeGroup) -> None:
    members = await group(3)
    leader = await members.leader()
    one, other = members.followers(leader)
    await members.stop(other.node_id)
    link = leader.driver.mesh.links[one.node_id]
    link.abort()

    number = leader.engine.begin_round()  # Said into nothing.
    await link.wait_closed()
    assert not leader.engine.has_confirmed(number)

    await leader.until(lambda: leader.engine.has_confirmed(number))


async def test_one_that_leads_no_more_has_confirmed_nothing(group: MakeGroup) -> None:
    members = await group(1)
    leader = await members.leader()
    number = leader.engine.begin_round()
    assert leader.engine.has_confirmed(number)

    leader.engine.step_down(leader.engine.term + 1)

    assert not leader.engine.has_confirmed(number)


async def test_a_sign_of_life_calls_for_a_turn_only_where_it_tells_something_new(
    group: MakeGroup,
) -> None:
    members = await group(3)
    leader = await members.leader()
    one, other = (member.node_id for member in members.followers(leader))
    engine, term = leader.engine, leader.engine.term
    echo = {"type": "heartbeat_ack", "from_term": term, "round": engine.begin_round()}

    assert engine.receive(one, dict(echo))  # With it, a majority has echoed the round.
    assert not engine.receive(other, dict(echo))

    follower = members.members[one]
    await follower.until(lambda: follower.engine.leader == leader.node_id)
    beat = {"type": "heartbeat", "from_term": term, "term": term, "round": 1}
    assert not follower.engine.receive(leader.node_id, dict(beat))
    newer = beat | {"from_term": term + 1, "term": term + 1}
    assert follower.engine.receive(other, newer)


async def test_entries_leave_before_the_leader_has_them_but_no_word_of_their_commit(
    group: MakeGroup,
) -> None:
    members = await group(3)
    leader = await members.leader()
    followers = members.followers(leader)
    synced = hold_up_the_disk(leader)

    index, _ = leader.append(b"sent ahead")
    for follower in followers:
        await leader.until(lambda f=follower: leader.engine.match_index(f.node_id) == index)
        await follower.turn()

    assert not any(member.applied for member in members.members.values())
    assert leader.engine.certain_index < index  # What reads wait for.
    assert all(follower.engine.commit_index < index for follower in followers)
    synced.set()
    for member in members.members.values():
        await member.until(lambda m=member: m.applied)


async def test_a_leader_that_decides_alone_sends_nothing_ahead(group: MakeGroup) -> None:
    members = await group(1)
    leader = await members.leader()

    assert not leader.engine.may_send_ahead


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
