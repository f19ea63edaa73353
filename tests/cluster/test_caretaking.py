"""What a leader decides by itself: whose workers wait, and which rules are in force."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.core.commands import Offer, Register
from cluster.core.model import TaskStatus
from cluster.core.queries import GetTask
from cluster.errors import UnsupportedVersion
from cluster.raft.snapshots import index_of
from cluster.replica import Replica
from tests.cluster.conftest import Cluster, MakeCluster, a_task

PATIENCE_SECONDS = 20.0


async def until(replica: Replica, holds: Callable[[], bool]) -> None:
    """Wait until *holds* after some entry that *replica* applied."""
    watch = replica.watch()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await anext(watch)
    watch.close()


async def until_version(replica: Replica, version: int) -> None:
    """A version is told by no event: linearizable writes bring the state along."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while replica.machine.version != version:
            await replica.propose(a_task())


async def a_worker(replica: Replica) -> str:
    worker_id = str(uuid.uuid4())
    await replica.propose(Register(worker_id, worker_id, ("default",), (), (), 1, replica.node_id))
    await replica.propose(Offer(worker_id, 1, 1, is_standing=True))
    return worker_id


async def test_a_silent_nodes_workers_wait_until_it_is_back(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    leader, follower = nodes.leader(), nodes.follower()
    worker_id = await a_worker(follower)
    await nodes.stop(follower.node_id)
    leader = next(iter(nodes.replicas.values()))

    await until(leader, lambda: leader.machine.worker_nodes == {follower.node_id: True})
    task = a_task()
    await leader.propose(task)
    waiting = (await leader.read(GetTask(task.tasks[0].id))).value
    await nodes.start(follower.node_id)
    await until(leader, lambda: leader.machine.worker_nodes == {follower.node_id: False})
    served = (await leader.read(GetTask(task.tasks[0].id))).value

    assert waiting is not None
    assert waiting.status is TaskStatus.PENDING
    assert served is not None
    assert served.worker_id == worker_id


async def test_the_version_rises_once_every_member_supports_it(cluster: MakeCluster) -> None:
    nodes = await cluster(3, start=(), newest_version=2)
    nodes.options["newest_version"] = 2
    await nodes.start("node1")
    await nodes.start("node2")
    nodes.options["newest_version"] = 1
    await nodes.start("node3")
    node1 = nodes.replicas["node1"]
    for _ in range(20):
        await node1.propose(a_task())
    before = {replica.machine.version for replica in nodes.replicas.values()}

    await nodes.stop("node3")
    nodes.options["newest_version"] = 2
    await nodes.start("node3")
    await until_version(node1, 2)

    assert before == {1}


async def test_a_node_that_knows_only_older_rules_stops_and_says_what_to_do(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3, newest_version=2)
    await until_version(nodes.replicas["node1"], 2)
    await nodes.stop("node3")
    nodes.options["newest_version"] = 1

    older = await start_or_fail(nodes, "node3")

    assert isinstance(older, UnsupportedVersion)
    assert "machine version 2" in str(older)
    assert "install" in str(older)


async def start_or_fail(nodes: Cluster, node_id: str) -> BaseException:
    try:
        replica = await nodes.start(node_id)
    except UnsupportedVersion as error:
        return error
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await replica.wait_failed()


async def test_a_node_that_knows_only_older_rules_does_not_start_from_a_newer_snapshot(
    cluster: MakeCluster, tmp_path: Path
) -> None:
    nodes = await cluster(1, newest_version=2, snapshot_bytes=1)
    node = nodes.replicas["node1"]
    await until_version(node, 2)
    index = node.status().applied_index
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any(
            index_of(path.name) > index for path in (tmp_path / "node1").glob("*.snapshot")
        ):
            await node.propose(a_task())
    await nodes.stop("node1")
    nodes.options["newest_version"] = 1

    with pytest.raises(UnsupportedVersion, match="machine version 2"):
        await nodes.start("node1")
