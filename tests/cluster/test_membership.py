"""Members in, out, wiped and back, on real sockets and disks."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from cluster.answers import Consistency
from cluster.core.queries import Count
from cluster.errors import ChangeRefused, MemberUnknown, NoQuorum, OutcomeUnknown
from cluster.status import MemberStatus, Role
from node.waiting import wait_until
from tests.cluster.conftest import Cluster, MakeCluster, a_task, free_port
from tests.cluster.test_overload import SlowDisk


def member_ids(cluster: Cluster, node_id: str) -> list[str]:
    return [member.id for member in cluster.replicas[node_id].status().members]


async def test_leadership_is_handed_over_when_asked(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    follower = nodes.follower()
    term = follower.status().term

    await follower.change_leader(follower.node_id)
    await follower.propose(a_task())

    assert follower.status().role is Role.LEADER
    assert follower.status().term == term + 1


async def test_a_leader_that_stops_leaves_the_next_term_to_another(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    stopped = nodes.leader()
    term = stopped.status().term

    await nodes.stop(stopped.node_id)
    committed = await next(iter(nodes.replicas.values())).propose(a_task())

    assert committed.term == term + 1


async def test_a_new_member_catches_up_and_counts(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    for _ in range(30):
        await nodes.follower().propose(a_task())
    nodes.addresses["node4"] = f"127.0.0.1:{free_port()}"
    joined = await nodes.start("node4")

    await nodes.follower().add_member("node4", nodes.addresses["node4"])
    index = (await nodes.leader().propose(a_task())).index

    answered = await joined.read(Count(), consistency=Consistency.STALE, min_index=index)
    assert sum(count for _, count in answered.value.by_status) == 31
    assert len(joined.status().members) == 4


async def test_who_never_comes_is_let_go_by_a_removal(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    follower = nodes.follower()
    adding = asyncio.create_task(follower.add_member("node4", f"127.0.0.1:{free_port()}"))

    async with asyncio.timeout(10):
        while True:
            try:
                await follower.remove_member("node4")
            except MemberUnknown:  # The leader has not begun.
                continue
            break
        with pytest.raises(ChangeRefused, match="node4 was removed before it had caught up"):
            await adding
    await nodes.leader().remove_member(follower.node_id)  # Nothing is under way any more.


async def test_a_removed_member_is_no_longer_needed(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    removed, kept = [r.node_id for r in nodes.replicas.values() if r is not nodes.leader()]

    await nodes.leader().remove_member(removed)
    await nodes.stop(removed)

    await nodes.replicas[kept].propose(a_task())
    assert removed not in member_ids(nodes, kept)


async def test_of_two_removed_at_once_one_waits_its_turn(cluster: MakeCluster) -> None:
    """Two in one step need not leave a majority in common with the one before (D3)."""
    nodes = await cluster(5)
    leader = nodes.leader()
    first, second, *rest = [r for r in nodes.replicas.values() if r is not leader]

    outcomes = await asyncio.gather(
        rest[0].remove_member(first.node_id),
        rest[1].remove_member(second.node_id),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if each is not None]
    assert all(isinstance(each, ChangeRefused) for each in refused)
    assert len(refused) < 2
    if refused:
        assert "another change of members is under way" in str(refused[0])
        left = first if outcomes[0] is not None else second
        await rest[0].remove_member(left.node_id)

    await rest[0].propose(a_task())
    assert len(member_ids(nodes, rest[0].node_id)) == 3


async def test_a_leader_can_be_removed(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    leader = nodes.leader()

    await leader.remove_member(leader.node_id)

    other = next(r for r in nodes.replicas.values() if r is not leader)
    await other.propose(a_task())
    assert leader.node_id not in [member.id for member in other.status().members]


async def test_a_removal_is_not_told_before_it_is_durable(cluster: MakeCluster) -> None:
    """Of two members one is left, which alone decides: on its own disk, once that has it."""
    nodes = await cluster(2, start=[])
    host = SlowDisk()
    left = await nodes.start("node1", host=host)
    await nodes.start("node2")
    await left.read(Count())
    await left.change_leader("node1")
    await left.propose(a_task())
    before = left._driver.engine.commit_index

    with host.stalled():
        asked = asyncio.create_task(left.remove_member("node2"))

        async def is_committed() -> bool:
            return left._driver.engine.commit_index > before

        await wait_until(is_committed, what="the engine to commit it", timeout_seconds=5)
        was_told = asked.done()
    await asked

    assert not was_told
    assert member_ids(nodes, "node1") == ["node1"]


async def test_who_asked_a_leader_that_goes_is_told_at_once(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    is_dialled = asyncio.Event()  # The leader has begun: it looks for the newcomer.

    def greet_nobody(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_dialled.set()
        writer.close()

    server = await asyncio.start_server(greet_nobody, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    asked = asyncio.create_task(nodes.follower().add_member("node4", address))
    await is_dialled.wait()

    nodes.leader()._driver.mesh.links[nodes.follower().node_id].abort()

    with pytest.raises(OutcomeUnknown, match="broke before it answered"):
        async with asyncio.timeout(5):
            await asked
    server.close()
    await server.wait_closed()


async def test_what_cannot_be_changed_is_refused_with_the_reason(cluster: MakeCluster) -> None:
    nodes = await cluster(3)

    with pytest.raises(ChangeRefused, match="node2 is a member already"):
        await nodes.follower().add_member("node2", "127.0.0.1:1")
    for replica in (nodes.leader(), nodes.follower()):
        with pytest.raises(MemberUnknown, match="node9 is not a member"):
            await replica.remove_member("node9")
        with pytest.raises(MemberUnknown, match="node9 is not a member"):
            await replica.change_leader("node9")
    for address in ("nowhere", ":7600", "there:0", "there:65536", "there:port"):
        with pytest.raises(ChangeRefused, match=f"'{address}' is no host:port"):
            await nodes.follower().add_member("node4", address)


async def test_a_cluster_does_not_form_before_all_have_met(cluster: MakeCluster) -> None:
    nodes = await cluster(3, start=["node1", "node2"])

    with pytest.raises((NoQuorum, OutcomeUnknown)):
        await nodes.replicas["node1"].propose(a_task(), timeout_seconds=1)
    await nodes.start("node3")

    await nodes.replicas["node1"].propose(a_task())


async def test_a_wiped_member_does_not_count_until_it_has_caught_up(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    leader = nodes.leader()
    behind, wiped = [id_ for id_ in nodes.replicas if id_ != leader.node_id]
    await nodes.stop(behind)
    for _ in range(20):
        await leader.propose(a_task())
    # The leader and the wiped one alone hold the twenty: with the leader away, what is left is a
    # majority in number, but not in memory.
    await nodes.stop(leader.node_id)
    await nodes.stop(wiped)
    shutil.rmtree(nodes.data / wiped)
    await nodes.start(behind)
    await nodes.start(wiped)

    with pytest.raises(NoQuorum):
        await nodes.replicas[behind].propose(a_task(), timeout_seconds=2)
    await nodes.start(leader.node_id)

    answered = await nodes.replicas[wiped].read(Count())
    assert sum(count for _, count in answered.value.by_status) == 20


async def test_a_wiped_member_counts_again_once_it_is_readmitted(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    leader = nodes.leader()
    other, wiped = [id_ for id_ in nodes.replicas if id_ != leader.node_id]
    await nodes.stop(wiped)
    shutil.rmtree(nodes.data / wiped)
    await nodes.start(wiped)
    await nodes.replicas[wiped].read(Count())
    while not nodes.replicas[wiped]._engine.is_member:
        await nodes.replicas[wiped].propose(a_task())

    await nodes.stop(other)

    await nodes.replicas[wiped].propose(a_task())


async def test_a_member_that_is_away_is_known_by_when_and_where_it_was_last_heard(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3)
    leader, away = nodes.leader(), nodes.follower().node_id

    def seen() -> MemberStatus:
        return next(member for member in leader.status().members if member.id == away)

    assert seen().is_reachable
    await nodes.stop(away)
    while seen().is_reachable:
        await leader.propose(a_task())

    gone = seen()
    await leader.propose(a_task())

    assert (gone.role, gone.http) == (None, f"{away}.example:80")
    later = seen()
    assert gone.last_contact_seconds is not None
    assert later.last_contact_seconds is not None
    assert later.last_contact_seconds > gone.last_contact_seconds
