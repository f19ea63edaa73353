"""Snapshots taken, restored, sent and refused, on real disks and sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from pathlib import Path

import pytest

from cluster import snapshot_receiving
from cluster.answers import Consistency
from cluster.core.queries import Count, GetTask
from cluster.errors import StorageDamaged
from cluster.host import RealHost
from cluster.raft.snapshots import MAGIC
from cluster.raft.storage import Directory, Draft
from cluster.replica import Replica
from cluster.watching import From
from node.waiting import wait_until
from tests.cluster.conftest import Cluster, MakeCluster, a_task


async def submit(replica: Replica, count: int) -> list[str]:
    commands = [a_task() for _ in range(count)]
    await asyncio.gather(*(replica.propose(command) for command in commands))
    return [command.tasks[0].id for command in commands]


async def take(replica: Replica) -> None:
    await asyncio.shield(replica._snapshots.take())


async def take_everywhere(nodes: Cluster) -> None:
    """Whoever leads from now on has no more of the log than what comes."""
    for replica in nodes.replicas.values():
        await take(replica)


def snapshot_files(nodes: Cluster, node_id: str) -> list[Path]:
    return sorted((nodes.data / node_id).glob("*.snapshot"))


async def test_a_node_restarts_from_its_snapshot_and_the_log_after_it(cluster: MakeCluster) -> None:
    nodes = await cluster(1)
    node = nodes.leader()
    before = await submit(node, 200)
    await take(node)
    after = await submit(node, 50)
    index = node.status().applied_index

    await nodes.stop("node1")
    node = await nodes.start("node1")

    for task_id in (*before, *after):
        assert (await node.read(GetTask(task_id), min_index=index)).value is not None


async def test_many_small_entries_call_for_a_snapshot(cluster: MakeCluster) -> None:
    """However little they take of the disk: at the next start each would be applied anew."""
    nodes = await cluster(1, snapshot_entries=20)
    node = nodes.leader()

    for _ in range(10):
        await submit(node, 1)
    few = snapshot_files(nodes, "node1")
    for _ in range(20):
        await submit(node, 1)

    async def is_taken() -> bool:
        return bool(snapshot_files(nodes, "node1"))

    await wait_until(is_taken, what="a snapshot to be taken", timeout_seconds=30)
    assert not few


@pytest.mark.parametrize("call", ["fork", "pidfd_open"])
async def test_a_child_that_cannot_be_had_leaves_the_log_as_it_is(
    cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    nodes = await cluster(1)
    (replica,) = nodes.replicas.values()
    (first,) = await submit(replica, 1)

    def refuse(*_given: object) -> int:
        raise OSError(errno.EAGAIN, "no process can be had")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        await take(replica)

    assert snapshot_files(nodes, "node1") == []
    assert not replica._failed.done()
    assert (await replica.read(GetTask(first))).value is not None


async def test_older_snapshots_go_once_a_newer_one_is_durable(cluster: MakeCluster) -> None:
    nodes = await cluster(1)
    node = nodes.leader()
    for _ in range(3):
        await submit(node, 10)
        await take(node)

    assert len(snapshot_files(nodes, "node1")) == 1


async def test_the_log_is_cut_but_for_a_tail(cluster: MakeCluster) -> None:
    nodes = await cluster(1, tail_entries=5)
    node = nodes.leader()
    for _ in range(30):
        await submit(node, 1)

    await take(node)

    assert node._engine.log.first_index == node._engine.applied_index - 5


async def test_a_follower_that_is_too_far_behind_is_sent_a_snapshot(cluster: MakeCluster) -> None:
    nodes = await cluster(3, tail_entries=0)
    leader = nodes.leader()
    away = nodes.follower().node_id
    await nodes.stop(away)
    task_ids = await submit(leader, 2_000)
    await take_everywhere(nodes)
    await submit(leader, 10)
    index = leader.status().applied_index

    back = await nodes.start(away)
    for task_id in task_ids[::100]:
        answered = await back.read(GetTask(task_id), consistency=Consistency.STALE, min_index=index)
        assert answered.value is not None

    await leader.read(Count())
    index = (await leader.propose(a_task())).index
    await back.read(Count(), consistency=Consistency.STALE, min_index=index)
    assert snapshot_files(nodes, away)
    assert back.machine.state_hash == leader.machine.state_hash


async def test_a_node_that_was_sent_a_snapshot_restarts_with_it(cluster: MakeCluster) -> None:
    nodes = await cluster(3, tail_entries=0)
    leader = nodes.leader()
    away = nodes.follower().node_id
    await nodes.stop(away)
    await submit(leader, 100)
    await take_everywhere(nodes)
    index = leader.status().applied_index
    back = await nodes.start(away)
    await back.read(Count(), consistency=Consistency.STALE, min_index=index)

    await nodes.stop(away)
    again = await nodes.start(away)

    answered = await again.read(Count(), min_index=index)
    assert sum(count for _, count in answered.value.by_status) == 100


class SlowDirectory(Directory):
    """A real one, on which the first write of a received snapshot takes until it is let go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.closed_amid_a_write = False

    def open_draft(self) -> Draft:
        return SlowDraft(super().open_draft(), self)


class SlowDraft:
    def __init__(self, draft: Draft, directory: SlowDirectory) -> None:
        self._draft = draft
        self._directory = directory
        self._is_writing = False
        self.commit = draft.commit

    def add(self, content: bytes) -> None:
        self._is_writing = True
        if content == MAGIC:
            self._directory.began.set()
            self._directory.may_end.wait()
        self._draft.add(content)
        self._is_writing = False

    def discard(self) -> None:
        if self._is_writing:
            self._directory.closed_amid_a_write = True
        self._draft.discard()


class SlowHost(RealHost):
    def open_storage(self, path: Path) -> SlowDirectory:
        self.directory = SlowDirectory(path)
        return self.directory


class FullDirectory(Directory):
    """A real one that has no room for the first two snapshots that are received."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.opened_at: list[float] = []

    def open_draft(self) -> Draft:
        draft = super().open_draft()
        if threading.current_thread() is threading.main_thread():
            return draft  # What a node writes as it starts.
        self.opened_at.append(time.monotonic())
        if len(self.opened_at) > 2:
            return draft
        draft.discard()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullHost(RealHost):
    def open_storage(self, path: Path) -> FullDirectory:
        self.directory = FullDirectory(path)
        return self.directory


async def test_a_transfer_given_up_amid_a_write_closes_its_file_behind_that_write(
    cluster: MakeCluster,
) -> None:
    """A descriptor closed under a write may already be that of another file: of the log's, say."""
    nodes = await cluster(3, tail_entries=0)
    leader = nodes.leader()
    away = nodes.follower().node_id
    await nodes.stop(away)
    await submit(leader, 100)
    await take_everywhere(nodes)
    host = SlowHost()
    back = await nodes.start(away, host=host)
    await asyncio.to_thread(host.directory.began.wait)
    receives = back._snapshots._receiver._transfer
    assert receives is not None
    assert receives.task is not None

    back._driver.mesh.links[leader.node_id].abort()
    await asyncio.wait([receives.task])
    was_closed = host.directory.closed_amid_a_write
    host.directory.may_end.set()

    index = (await leader.propose(a_task())).index
    await back.read(Count(), consistency=Consistency.STALE, min_index=index)
    assert not was_closed


async def test_half_a_snapshot_goes_with_the_term_of_its_leader(cluster: MakeCluster) -> None:
    """Its link stays, and who leads next may send none: half a state would stay in memory."""
    nodes = await cluster(3, tail_entries=0)
    leader = nodes.leader()
    away = nodes.follower().node_id
    await nodes.stop(away)
    await submit(leader, 100)
    await take(leader)  # The other has the log: it will send no snapshot in the place of this one.
    host = SlowHost()
    back = await nodes.start(away, host=host)
    await asyncio.to_thread(host.directory.began.wait)
    half = back._snapshots._receiver._transfer
    other = next(r for r in nodes.replicas.values() if r not in (leader, back))
    try:
        assert half is not None
        assert half.task is not None
        half.is_whole = False  # As of one with more frames than may be under way.
        await leader.change_leader(other.node_id)
        await asyncio.wait([half.task], timeout=5)
        was_over = half.task.done()
    finally:
        host.directory.may_end.set()

    index = (await other.propose(a_task())).index
    await back.read(Count(), consistency=Consistency.STALE, min_index=index)
    assert was_over


async def test_after_a_snapshot_that_found_no_room_there_is_a_pause(
    cluster: MakeCluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader would offer it several times a second, and each try tell of a full disk."""
    monkeypatch.setattr(snapshot_receiving, "PAUSE_SECONDS", 1.0)
    nodes = await cluster(3, tail_entries=0)
    leader = nodes.leader()
    away = nodes.follower().node_id
    await nodes.stop(away)
    await submit(leader, 100)
    await take_everywhere(nodes)
    host = FullHost()
    back = await nodes.start(away, host=host)

    index = leader.status().applied_index
    await back.read(Count(), consistency=Consistency.STALE, min_index=index, timeout_seconds=20)

    first, second, third = host.directory.opened_at
    assert second - first >= 1.0
    assert third - second >= 1.0
    assert caplog.text.count("was given up") == 2


async def test_a_reader_misses_nothing_when_its_node_is_sent_a_snapshot(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3, tail_entries=0)
    leader = nodes.leader()
    away = nodes.follower().node_id
    await nodes.stop(away)
    task_ids = await submit(leader, 100)
    await take_everywhere(nodes)
    task_ids += await submit(leader, 10)

    back = await nodes.start(away)
    watch = back.watch(From.OLDEST)
    told: list[str | None] = []
    async with asyncio.timeout(10):
        while len(told) < len(task_ids):
            event = await anext(watch)
            if event.kind == "submitted":
                told.append(event.task_id)
    watch.close()

    assert sorted(map(str, told)) == sorted(task_ids)
    assert snapshot_files(nodes, away)


@pytest.mark.parametrize("place", [0, 30, -20, -1])
async def test_a_damaged_snapshot_stops_the_node_and_names_the_file(
    cluster: MakeCluster, place: int
) -> None:
    nodes = await cluster(1)
    await submit(nodes.leader(), 10)
    await take(nodes.leader())
    await nodes.stop("node1")
    [file] = snapshot_files(nodes, "node1")
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)

    with pytest.raises(StorageDamaged, match=file.name):
        await nodes.start("node1")


async def test_a_missing_snapshot_stops_the_node(cluster: MakeCluster) -> None:
    nodes = await cluster(1, tail_entries=0, segment_bytes=1_000)
    await submit(nodes.leader(), 100)
    for _ in range(20):
        await submit(nodes.leader(), 1)
    await take(nodes.leader())
    await nodes.stop("node1")
    [file] = snapshot_files(nodes, "node1")
    file.unlink()

    with pytest.raises(StorageDamaged, match="a snapshot is missing"):
        await nodes.start("node1")


async def test_writes_go_on_while_a_snapshot_is_taken(cluster: MakeCluster) -> None:
    nodes = await cluster(1)
    node = nodes.leader()
    await submit(node, 5_000)

    taking = node._snapshots.take()
    while not taking.done():
        await node.propose(a_task())

    await taking
    assert snapshot_files(nodes, "node1")
