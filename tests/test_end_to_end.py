"""The whole house on real processes: what was acknowledged is done once, whoever dies."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import LeaseLost
from node.local import LocalCluster
from node.waiting import wait_until

CLIENTS = 20
TASKS_A_STAGE = 400
STAGES = 5
TASKS = TASKS_A_STAGE * STAGES
LEASE_SECONDS = 3.0
SECONDS_MAX = 90.0

StartCluster = Callable[..., Awaitable[LocalCluster]]
Fault = Callable[[], Awaitable[None]]


class Submitters:
    """Twenty clients, each of which begins with a node of its own and knows all."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._values = itertools.count()
        self.acknowledged: dict[str, int] = {}  # Task id -> the value that it is to echo.
        self._moments = [time.monotonic()]

    @property
    def longest_gap_seconds(self) -> float:
        """The longest time without any acknowledgement while something was being submitted."""
        return max(later - earlier for earlier, later in itertools.pairwise(self._moments))

    async def submit_during(self, fault: Fault) -> None:
        """Submit a stage's tasks; the fault happens once a quarter of them was acknowledged."""
        quarter = len(self.acknowledged) + TASKS_A_STAGE // 4
        reached = asyncio.Event()
        self._moments.append(time.monotonic())

        async def fail_meanwhile() -> None:
            await reached.wait()
            await fault()

        async with asyncio.TaskGroup() as group:
            group.create_task(fail_meanwhile())
            for client in self._clients:
                group.create_task(self._submit(client, quarter, reached))

    async def _submit(self, client: Client, quarter: int, reached: asyncio.Event) -> None:
        for _ in range(TASKS_A_STAGE // CLIENTS):
            value = next(self._values)
            handle = await client.submit("echo", value)
            self.acknowledged[handle.id] = value
            self._moments.append(time.monotonic())
            if len(self.acknowledged) >= quarter:
                reached.set()


@asynccontextmanager
async def submitters(cluster: LocalCluster) -> AsyncIterator[Submitters]:
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(CLIENTS):
            turn = number % len(cluster.urls)
            urls = (*cluster.urls[turn:], *cluster.urls[:turn])
            clients.append(await stack.enter_async_context(Client(urls)))
        yield Submitters(clients)


class Faults:
    """What happens to the cluster, one thing after the other."""

    def __init__(self, cluster: LocalCluster, client: Client) -> None:
        self._cluster = cluster
        self._client = client
        self.frozen_worker = ""

    async def nothing(self) -> None:
        """Let it work."""

    async def freeze_a_follower(self) -> None:
        """Until its leader misses it."""
        leader = await self._cluster.wait_ready()
        follower = next(name for name in self._cluster.places if name != leader)
        self._cluster.freeze(follower)

        async def is_missed() -> bool:
            view = await self._cluster.view(leader)
            members = view["members"] if view else []
            return any(each["id"] == follower and not each["reachable"] for each in members)

        try:
            await wait_until(is_missed, what=f"{follower} to be missed", timeout_seconds=30)
        finally:
            self._cluster.thaw(follower)

    async def freeze_a_worker(self) -> None:
        """In the middle of a task, past its lease, until another worker has done it."""
        handle = await self._client.submit("sleep", 0.5)

        async def holder() -> str | None:
            task = await handle.task()
            return task["worker_id"] if task["status"] == "processing" else None

        worker_id = await wait_until(holder, what="a worker to begin", timeout_seconds=30)
        self.frozen_worker = (await self._client.worker(worker_id))["name"]
        self._cluster.freeze(self.frozen_worker)
        try:
            assert await handle.result(timeout=60) == {"slept_seconds": 0.5}
            task = await handle.task()
        finally:
            self._cluster.thaw(self.frozen_worker)

        assert task["worker_id"] != worker_id
        assert task["deliveries"] == 2
        await self._wait_rejoined(self.frozen_worker, former_id=worker_id)
        assert (await handle.task()) == task, "a late completion changed what was settled"

    async def kill_a_worker(self) -> None:
        """SIGKILL: it says nothing, and its tasks go to others."""
        await self._cluster.kill(
            next(name for name in self._cluster.worker_names if name != self.frozen_worker)
        )

    async def kill_the_leader(self) -> None:
        """SIGKILL, and start it again on its data."""
        leader = await self._cluster.wait_ready()
        await self._cluster.kill(leader)
        await self._cluster.start_node(leader)

    async def _wait_rejoined(self, name: str, *, former_id: str) -> None:
        async def is_back() -> bool:
            return any(
                worker["name"] == name
                and worker["status"] == "active"
                and worker["id"] != former_id
                for worker in await self._client.workers()
            )

        await wait_until(is_back, what=f"{name} to begin anew", timeout_seconds=60)


async def test_acknowledged_tasks_complete_once_whoever_dies_or_freezes(
    start_cluster: StartCluster, record_property: Callable[[str, object], None]
) -> None:
    cluster = await start_cluster(nodes=3, workers=3, lease_seconds=LEASE_SECONDS)
    async with submitters(cluster) as load, Client(cluster.urls) as client:
        faults = Faults(cluster, client)
        for fault in (
            faults.nothing,
            faults.freeze_a_follower,
            faults.freeze_a_worker,
            faults.kill_a_worker,
            faults.kill_the_leader,
        ):
            await load.submit_during(fault)
        longest_gap_seconds = round(load.longest_gap_seconds, 3)
        record_property("longest_gap_seconds", longest_gap_seconds)
        print(f"longest gap between two acknowledgements: {longest_gap_seconds} s")  # noqa: T201

        tasks = await all_finished(client, load.acknowledged)
        assert Counter(task["status"] for task in tasks.values()) == {"completed": TASKS}
        assert {id_: task["result"] for id_, task in tasks.items()} == load.acknowledged

        await cluster.wait_ready()
        sleeper = 1  # The task that the frozen worker held.
        assert (await client.health())["completed_tasks"] == TASKS + sleeper
    assert await hashes_at_one_index(cluster) == 1


async def test_a_worker_silent_past_its_lease_cannot_complete_its_task(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster(nodes=1, workers=0, lease_seconds=1.0)
    async with Client(cluster.urls) as client:
        silent = await client.register(queues=["default"], slots=1)
        handle = await client.submit("echo", "mine")
        (lease,) = await client.lease(silent["worker_id"], wait=10)
        await cluster.start_worker("worker1")

        assert await handle.result(timeout=60) == "mine"
        with pytest.raises(LeaseLost):
            await client.complete(handle.id, lease["lease_token"], "too late")
        assert await handle.result() == "mine"


async def test_workers_that_join_take_their_share(start_cluster: StartCluster) -> None:
    cluster = await start_cluster(nodes=3, workers=2, slots=1)
    async with Client(cluster.urls) as client:
        handles = [await client.submit("sleep", 0.1) for _ in range(100)]
        for number in (3, 4, 5):
            await cluster.start_worker(f"worker{number}")
        await cluster.wait_ready()
        at_five = Counter[str]()
        handles += [await client.submit("sleep", 0.1) for _ in range(100)]
        for handle in handles:
            at_five[(await handle.ended(timeout=60))["worker_id"]] += 1

        workers = {worker["id"]: worker["name"] for worker in await client.workers()}
    assert sorted(workers[worker_id] for worker_id in at_five) == [
        f"worker{number}" for number in range(1, 6)
    ]
    joined = [n for worker_id, n in at_five.items() if workers[worker_id] > "worker2"]
    assert min(joined) >= 100 // 5 // 2, "none that joined is left with less than half its share"


async def all_finished(client: Client, ids: dict[str, int]) -> dict[str, Object]:
    """Those tasks, once each has ended; by id."""

    async def finished() -> dict[str, Object] | None:
        found = {task["id"]: task async for task in client.tasks() if task["id"] in ids}
        assert found.keys() == ids.keys(), "an acknowledged task is gone"
        are_done = all(task["finished_at"] is not None for task in found.values())
        return found if are_done else None

    return await wait_until(finished, what="every task to be finished", timeout_seconds=SECONDS_MAX)


async def hashes_at_one_index(cluster: LocalCluster) -> int:
    """How many different states the nodes have, once all have applied the same index."""

    async def hashes() -> set[str] | None:
        views = [await cluster.view(name) for name in cluster.places]
        known = [view for view in views if view is not None]
        are_level = len({view["applied_index"] for view in known}) == 1
        return {view["state_hash"] for view in known} if len(known) == 3 and are_level else None

    return len(await wait_until(hashes, what="three nodes at one index", timeout_seconds=30))
