"""Replicas on real sockets and disks: what is proposed anywhere is committed once, everywhere."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from cluster.answers import Consistency
from cluster.core.commands import Cancel, Refused, Submitted
from cluster.core.model import Position
from cluster.core.queries import Count, GetTask
from cluster.errors import (
    ConfigurationError,
    NoQuorum,
    NotCaughtUp,
    OutcomeUnknown,
    StorageError,
)
from cluster.host import RealHost
from cluster.raft.storage import Directory, Draft
from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from cluster.status import Role
from cluster.watching import From
from node.waiting import wait_until
from tests.cluster.conftest import MakeCluster, a_task


@pytest.mark.parametrize("size", [1, 3])
async def test_a_command_is_answered_on_whichever_node_it_was_proposed(
    cluster: MakeCluster, size: int
) -> None:
    nodes = await cluster(size)

    for replica in nodes.replicas.values():
        command = a_task()
        committed = await replica.propose(command)
        assert isinstance(committed.reply, Submitted)
        assert committed.reply.tasks[0].task_id == command.tasks[0].id


async def test_a_read_on_any_node_sees_every_earlier_write(cluster: MakeCluster) -> None:
    nodes = await cluster(3)

    for _ in range(20):
        for writer in nodes.replicas.values():
            command = a_task()
            await writer.propose(command)
            for reader in nodes.replicas.values():
                answered = await reader.read(GetTask(command.tasks[0].id))
                assert answered.value is not None


async def test_a_read_does_not_wait_for_the_disk_of_a_leader(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    leader = nodes.leader()
    engine = leader._engine
    synced = threading.Event()
    leader._log_thread.submit(synced.wait, 30)

    async def is_ahead() -> bool:
        return engine.commit_index > engine.certain_index

    writing = asyncio.create_task(leader.propose(a_task()))
    await wait_until(is_ahead, what="the others to hold it", timeout_seconds=10)

    answered = await leader.read(Count(), timeout_seconds=2)

    assert answered.index < engine.commit_index
    synced.set()
    await writing


async def test_many_proposals_at_once_are_each_answered_with_their_own_reply(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3)
    commands = [a_task() for _ in range(600)]
    replicas = list(nodes.replicas.values())

    committed = await asyncio.gather(
        *(replicas[n % 3].propose(command) for n, command in enumerate(commands))
    )

    for command, outcome in zip(commands, committed, strict=True):
        assert isinstance(outcome.reply, Submitted)
        assert outcome.reply.tasks[0].task_id == command.tasks[0].id
    counts = (await replicas[0].read(Count())).value
    assert sum(count for _, count in counts.by_status) == 600


async def test_proposals_survive_the_loss_of_the_leader_without_being_doubled(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3)
    leader, follower = nodes.leader(), nodes.follower()
    commands = [a_task() for _ in range(200)]
    proposals = [asyncio.ensure_future(follower.propose(command)) for command in commands]
    await asyncio.wait(proposals, return_when=asyncio.FIRST_COMPLETED)

    await nodes.stop(leader.node_id)
    more = [asyncio.ensure_future(follower.propose(a_task())) for _ in range(200)]
    committed = await asyncio.gather(*proposals, *more)

    for outcome in committed:
        assert isinstance(outcome.reply, Submitted)
        assert not outcome.reply.tasks[0].is_duplicate


async def test_all_nodes_have_the_same_state_hash_at_the_same_index(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    replicas = list(nodes.replicas.values())
    await asyncio.gather(*(replicas[n % 3].propose(a_task()) for n in range(100)))
    index = max(replica.status().applied_index for replica in replicas)

    for replica in replicas:
        await replica.read(Count(), consistency=Consistency.STALE, min_index=index)

    statuses = [replica.status() for replica in replicas]
    assert len({status.applied_index for status in statuses}) == 1
    assert len({status.state_hash for status in statuses}) == 1


async def test_a_refusal_is_a_reply(cluster: MakeCluster) -> None:
    nodes = await cluster(1)

    committed = await nodes.leader().propose(Cancel("no-such-task"))

    assert isinstance(committed.reply, Refused)


async def test_the_leaders_memory_bound_is_every_nodes(cluster: MakeCluster) -> None:
    nodes = await cluster(3, memory_bytes_max=5_000_000)
    index = (await nodes.leader().propose(a_task())).index

    for replica in nodes.replicas.values():
        await replica.read(Count(), min_index=index)
        assert replica.machine.state.memory_bytes_max == 5_000_000


async def test_without_a_majority_nothing_handed_over_is_called_certain(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3)
    leader = nodes.leader()
    for node_id in [id_ for id_ in nodes.replicas if id_ != leader.node_id]:
        await nodes.stop(node_id)

    with pytest.raises((OutcomeUnknown, NoQuorum)):
        await leader.propose(a_task(), timeout_seconds=0.3)
    with pytest.raises(NoQuorum):
        await leader.read(Count(), timeout_seconds=0.3)
    assert (await leader.read(Count(), consistency=Consistency.STALE)).value is not None


async def test_a_reader_that_gave_up_leaves_nothing_behind(cluster: MakeCluster) -> None:
    nodes = await cluster(3, start=["node1"])
    (alone,) = nodes.replicas.values()

    for _ in range(3):
        with pytest.raises(NoQuorum):
            await alone.read(Count(), timeout_seconds=0.01)

    assert not alone._barriers._waiting


async def test_a_parcel_goes_over_one_link_once(
    cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = await cluster(3)
    leader, follower = nodes.leader(), nodes.follower()
    handed: list[object] = []
    tell = follower._driver.tell

    def telling(peer: str, content: Any, **named: Any) -> bool:
        handed.append(content[0])
        return tell(peer, content, **named)

    monkeypatch.setattr(follower._driver, "tell", telling)
    synced = threading.Event()
    leader._log_thread.submit(synced.wait, 30)
    writing = asyncio.create_task(follower.propose(a_task()))

    async def is_handed_over() -> bool:
        return "propose" in handed

    await wait_until(is_handed_over, what="the parcel to leave", timeout_seconds=10)

    follower._leader_changed()  # As when it had heard nothing of its leader for a while.

    assert handed.count("propose") == 1
    synced.set()
    await writing


async def test_a_write_without_a_leader_certainly_did_not_happen(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    follower = nodes.follower()
    for node_id in [id_ for id_ in nodes.replicas if id_ != follower.node_id]:
        await nodes.stop(node_id)
    while follower.status().leader is not None:
        with pytest.raises((OutcomeUnknown, NoQuorum)):
            await follower.propose(a_task(), timeout_seconds=0.2)

    with pytest.raises(NoQuorum):
        await follower.propose(a_task(), timeout_seconds=0.2)
    assert follower.status().staleness_seconds < float("inf")


async def test_who_led_until_it_was_alone_tells_how_old_its_state_is(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    leader = nodes.leader()
    for node_id in [id_ for id_ in nodes.replicas if id_ != leader.node_id]:
        await nodes.stop(node_id)

    while leader.status().role is Role.LEADER:
        with pytest.raises((OutcomeUnknown, NoQuorum)):
            await leader.propose(a_task(), timeout_seconds=0.2)

    assert 0 < leader.status().staleness_seconds < float("inf")


async def test_a_leader_holds_on_for_longer_where_elections_take_longer(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3, election_seconds=1.5)
    leader = nodes.leader()
    loop = asyncio.get_running_loop()
    for node_id in set(nodes.addresses) - {leader.status().node_id}:
        await nodes.stop(node_id)
    alone_since = loop.time()

    async def has_given_up() -> bool:
        return leader.status().role is not Role.LEADER

    await wait_until(has_given_up, what="the leader to give up", timeout_seconds=30)

    assert loop.time() - alone_since > 1.5  # A leader at the usual pace gives up after one second.


async def test_a_read_that_asks_for_an_index_ahead_is_told_when_it_does_not_come(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(1)

    with pytest.raises(NotCaughtUp, match="not yet 1000000"):
        await nodes.leader().read(
            Count(), consistency=Consistency.STALE, min_index=1_000_000, timeout_seconds=0.1
        )


async def test_a_watch_sees_what_was_applied_after_it_began(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    command = a_task()
    watch = nodes.follower().watch()

    await nodes.leader().propose(command)

    async with asyncio.timeout(5):
        async for event in watch:
            if event.task_id == command.tasks[0].id:
                break
    assert event.kind == "submitted"
    watch.close()


async def test_a_reader_goes_on_at_any_node_after_what_it_saw_at_another(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3)
    commands = [a_task() for _ in range(30)]
    position: Position | From = From.OLDEST
    told: list[str | None] = []

    for part, replica in enumerate(nodes.replicas.values()):
        for command in commands[part * 10 : part * 10 + 10]:
            await nodes.leader().propose(command)
        watch = replica.watch(position)
        async with asyncio.timeout(5):
            while len(told) < part * 10 + 7:  # It goes before it has seen all.
                event = await anext(watch)
                position = event.position
                if event.kind == "submitted":
                    told.append(event.task_id)
        watch.close()

    assert told == [command.tasks[0].id for command in commands[:27]]


async def test_everything_is_there_after_all_nodes_restart(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    commands = [a_task() for _ in range(50)]
    for command in commands:
        await nodes.follower().propose(command)

    for node_id in list(nodes.replicas):
        await nodes.stop(node_id)
    for node_id in nodes.addresses:
        await nodes.start(node_id)

    for command in commands:
        answered = await nodes.replicas["node1"].read(GetTask(command.tasks[0].id))
        assert answered.value is not None


async def test_a_node_that_is_no_member_is_told_so(tmp_path: Path) -> None:
    settings = ReplicaSettings(
        node_id="node9", members={"node1": "127.0.0.1:1"}, data=tmp_path, http=""
    )

    with pytest.raises(ConfigurationError, match="node9"):
        await Replica.start(settings)


class FullDirectory(Directory):
    """A real one, on a disk that takes no new file."""

    def open_draft(self) -> Draft:
        raise OSError(errno.ENOSPC, "No space left on device")


class FullHost(RealHost):
    def open_storage(self, path: Path) -> Directory:
        return FullDirectory(path)


async def test_a_full_disk_is_told_of_as_one_at_the_first_start(tmp_path: Path) -> None:
    members = {"node1": "127.0.0.1:0"}
    settings = ReplicaSettings(node_id="node1", members=members, data=tmp_path / "node1", http="")

    with pytest.raises(StorageError, match="node1 cannot be read and written: No space left"):
        await Replica.start(settings, FullHost())

    Directory(tmp_path / "node1").close()  # Its lock is free again.
