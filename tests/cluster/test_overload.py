"""Replicas with too much to do: what is refused first, and what still goes through."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from cluster.backlog import Backlog, Traffic
from cluster.core.commands import Complete, Heartbeat, Offer, Register
from cluster.core.queries import Count
from cluster.errors import NoQuorum, OutcomeUnknown, Overloaded
from cluster.host import RealHost
from cluster.replica import Replica
from tests.cluster.conftest import MakeCluster, a_task

T = TypeVar("T")

BOUND = {"backlog_commands": 40}  # So that 20 submissions, 30 with reads and 40 in all are taken.


class SlowThread(ThreadPoolExecutor):
    def __init__(self, may_write: threading.Event) -> None:
        super().__init__(1)
        self._may_write = may_write

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        def work() -> T:
            self._may_write.wait()
            return fn(*args, **kwargs)

        return super().submit(work)


class SlowDisk(RealHost):
    """A machine whose disk takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = threading.Event()
        self.may_write.set()

    def open_log_thread(self) -> Executor:
        return SlowThread(self.may_write)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        self.may_write.clear()
        try:
            yield
        finally:
            self.may_write.set()


async def fill(submit: Callable[[], Any], *, patience: float = 10.0) -> list[asyncio.Future[Any]]:
    """Submit without waiting until the first one is refused; the rest, which are not."""
    taken: list[asyncio.Future[Any]] = []
    async with asyncio.timeout(patience):
        while True:
            taken.append(asyncio.ensure_future(submit()))
            await asyncio.sleep(0)
            if any(each.done() and isinstance(each.exception(), Overloaded) for each in taken):
                return [each for each in taken if not each.done()]


async def a_worker(replica: Replica) -> str:
    worker_id = str(uuid.uuid4())
    await replica.propose(Register(worker_id, worker_id, ("default",), (), (), 1, replica.node_id))
    await replica.propose(Offer(worker_id, 1, 1, is_standing=True))
    return worker_id


async def test_without_a_leader_submissions_are_refused_first_then_reads_then_the_rest(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3, start=["node1"], **BOUND)
    alone = nodes.replicas["node1"]

    submitted = await fill(lambda: alone.propose(a_task(), timeout_seconds=1.0))
    read = await fill(lambda: alone.read(Count(), timeout_seconds=1.0))
    beats = await fill(lambda: alone.propose(Heartbeat("w", (), "node1"), timeout_seconds=1.0))

    assert (len(submitted), len(read), len(beats)) == (20, 10, 10)
    ends = await asyncio.gather(*submitted, *read, *beats, return_exceptions=True)
    assert {type(end) for end in ends} == {NoQuorum}
    with pytest.raises(NoQuorum):  # What was under way has ended: there is room again.
        await alone.propose(a_task(), timeout_seconds=0.1)


async def test_a_leader_that_lost_its_majority_makes_room_as_what_it_took_expires(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3, **BOUND)
    leader = nodes.leader()
    for node_id in [id_ for id_ in nodes.replicas if id_ != leader.node_id]:
        await nodes.stop(node_id)

    taken = await fill(lambda: leader.propose(a_task(), timeout_seconds=0.5))
    ends = await asyncio.gather(*taken, return_exceptions=True)

    assert {type(end) for end in ends} <= {NoQuorum, OutcomeUnknown}
    while leader.status().leader is not None:
        with pytest.raises(NoQuorum):
            await leader.read(Count(), timeout_seconds=0.1)
    with pytest.raises(NoQuorum):  # And not that there is no room.
        await leader.propose(a_task(), timeout_seconds=0.1)


async def test_completions_go_through_a_slow_leader_that_refuses_submissions(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(1, start=(), **BOUND)
    disk = SlowDisk()
    leader = await nodes.start("node1", host=disk)
    await a_worker(leader)
    running = a_task()
    await leader.propose(running)

    with disk.stalled():
        submitted = await fill(lambda: leader.propose(a_task()))
        completion = asyncio.ensure_future(leader.propose(Complete(running.tasks[0].id, 1, b"42")))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="submissions"):
            await leader.propose(a_task())

    assert (await completion).reply.is_duplicate is False
    committed = await asyncio.gather(*submitted)
    assert len(committed) == 20
    counts = dict((await leader.read(Count())).value.by_status)
    assert sum(counts.values()) == 21, "what was refused certainly did not happen"


async def test_a_slow_leader_refuses_what_others_hand_it_and_takes_their_completions(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3, start=(), **BOUND)
    disks = {node_id: SlowDisk() for node_id in nodes.addresses}
    for node_id, disk in disks.items():
        await nodes.start(node_id, host=disk)
    await nodes.replicas["node1"].read(Count())
    leader = nodes.leader()
    follower, other = (each for each in nodes.replicas.values() if each is not leader)
    await a_worker(follower)
    running = a_task()
    await follower.propose(running)

    with disks[leader.node_id].stalled():
        taken = await fill(lambda: leader.propose(a_task()))
        with pytest.raises(Overloaded, match="the leader takes no more submissions"):
            await follower.propose(a_task())
        completion = asyncio.ensure_future(other.propose(Complete(running.tasks[0].id, 1, b"42")))

    assert (await completion).reply.is_duplicate is False
    await asyncio.gather(*taken)
    counts = dict((await other.read(Count())).value.by_status)
    assert sum(counts.values()) == 1 + len(taken), "what was refused certainly did not happen"


async def test_a_caller_who_gave_up_leaves_no_room_taken(cluster: MakeCluster) -> None:
    nodes = await cluster(1, start=(), **BOUND)
    disk = SlowDisk()
    leader = await nodes.start("node1", host=disk)
    await leader.read(Count())

    with disk.stalled():
        for each in await fill(lambda: leader.propose(a_task())):
            each.cancel()
    await leader.propose(Heartbeat("w", (), "node1"))

    assert len(await fill(lambda: leader.propose(a_task()))) <= 20


@pytest.mark.parametrize(
    ("traffic", "commands", "bytes_"),
    [
        (Traffic.SUBMISSION, 50, 0),
        (Traffic.SUBMISSION, 1, 500),
        (Traffic.READ, 75, 0),
        (Traffic.READ, 1, 750),
        (Traffic.UPKEEP, 100, 0),
        (Traffic.UPKEEP, 1, 1_000),
    ],
)
def test_each_class_has_its_line_in_commands_and_in_bytes(
    traffic: Traffic, commands: int, bytes_: int
) -> None:
    backlog = Backlog(commands_max=100, bytes_max=1_000)
    backlog.add(commands, bytes_)

    with pytest.raises(Overloaded):
        backlog.check(traffic)

    backlog.remove(*((1, 0) if commands > 1 else (0, 1)))
    backlog.check(traffic)
