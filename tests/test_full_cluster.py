"""A full cluster, on real processes: it refuses what is new, goes on, and loses nothing.

Clients press on every node for as long as it lasts, a worker completes what it is given; the memory
of each node is looked at all the while. `QUORATE_TEST_FULL_SECONDS=600` makes ten minutes of it,
with sixteen times the memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.client import Client
from gateway.ids import new_id
from node.local import LocalCluster
from node.waiting import wait_until
from tests.conftest import StartCluster

log = logging.getLogger(__name__)

MIB = 1 << 20
SECONDS = float(os.environ.get("QUORATE_TEST_FULL_SECONDS", "3"))
IS_LONG = SECONDS > 60
MEMORY_BYTES_MAX = (128 if IS_LONG else 8) * MIB
SNAPSHOT_BYTES = 8 * MIB
CLIENTS_PER_NODE = 4
WORKERS = 4
SLOTS = 16
SEED = 1

# Beyond what an idle node takes: the tasks with 15 % for what a formula cannot know, the log since
# the last snapshot (at most half of its size) with the tail kept before it, and what is in flight.
GROWTH_BYTES_MAX = round(1.15 * MEMORY_BYTES_MAX) + max(SNAPSHOT_BYTES, MEMORY_BYTES_MAX // 2)
GROWTH_BYTES_MAX += (16 + 32) * MIB


async def test_a_full_cluster_refuses_tasks_on_every_node_and_completes_what_it_has(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_SNAPSHOT_BYTES", str(SNAPSHOT_BYTES))
    cluster = await start_cluster(nodes=3, workers=0, memory_bytes_max=MEMORY_BYTES_MAX)
    run = Run(cluster)
    idle = run.resident_bytes()

    await run.press_until_every_node_refuses()
    async with asyncio.TaskGroup() as group:
        group.create_task(run.press())
        group.create_task(run.work())
        await asyncio.sleep(SECONDS)  # The test's length, and nothing that is waited for.
        run.is_over = True
        run.room.set()

    grown = {name: run.most[name] - idle[name] for name in idle}
    log.info("%s; grown by at most %s of %d bytes", run.told(), grown, GROWTH_BYTES_MAX)

    assert all(size < GROWTH_BYTES_MAX for size in grown.values()), grown
    assert all(run.refused[name] for name in cluster.places), "each node was pressed on"
    assert len(run.completed) > 100
    assert await run.tasks_left() == run.acknowledged - run.completed
    assert await hashes_at_one_index(cluster) == 1


class Run:
    """What the clients and the workers were answered, and what the nodes took at most."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.acknowledged: set[str] = set()
        self.completed: set[str] = set()
        self.refused: Counter[str] = Counter()  # By node.
        self.most: dict[str, int] = dict.fromkeys(cluster.places, 0)
        self.room = asyncio.Event()  # Something was completed since it was cleared.
        self.is_over = False
        self._random = random.Random(SEED)

    async def press_until_every_node_refuses(self) -> None:
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            for name in list(self.cluster.places) * CLIENTS_PER_NODE:
                group.create_task(self._submit_until_refused(http, name))

    async def press(self) -> None:
        """Submit through every node; after a refusal, again once something was completed."""

        async def press_on(name: str) -> None:
            while not self.is_over:
                await self._submit_until_refused(http, name)
                self.room.clear()
                if not self.is_over:
                    await self.room.wait()

        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            for name in list(self.cluster.places) * CLIENTS_PER_NODE:
                group.create_task(press_on(name))

    async def work(self) -> None:
        """Complete what is given, with a result as large as the task's data."""
        async with Client(self.cluster.urls) as client, asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work(client))

    async def tasks_left(self) -> set[str]:
        """The ids of all tasks that have not ended, from whichever node."""
        async with Client(self.cluster.urls) as client:
            return {task_id async for task_id in unfinished(client)}

    def resident_bytes(self) -> dict[str, int]:
        """What each node's process holds in memory now."""
        return {name: resident_bytes(self.cluster.children[name].pid) for name in self.most}

    def told(self) -> str:
        return (
            f"{len(self.acknowledged):,} acknowledged, {len(self.completed):,} completed, "
            f"{self.refused.total():,} refused in {SECONDS:g} s"
        )

    async def _submit_until_refused(self, http: aiohttp.ClientSession, name: str) -> None:
        url = f"{self.cluster.places[name].url}/tasks"
        while not self.is_over:
            size = self._random.randrange(100, 40_000)
            task = {"id": new_id(), "type": "t", "data": "x" * size}
            async with http.post(url, json=task) as answer:
                body = await answer.json()
            if answer.status == 429:
                assert (body["code"], answer.headers["Retry-After"]) == ("cluster_full", "1")
                self.refused[name] += 1
                return
            assert answer.status == 201, body
            self.acknowledged.add(task["id"])
            self._look()

    async def _work(self, client: Client) -> None:
        worker = await client.register(slots=SLOTS)
        while not self.is_over:
            for given in await client.lease(worker["worker_id"], slots=SLOTS, wait=1):
                await client.complete(given["id"], given["lease_token"], given["data"])
                self.completed.add(given["id"])
                self.room.set()
            await client.heartbeat(worker["worker_id"], [])
        await client.leave(worker["worker_id"])

    def _look(self) -> None:
        for name, size in self.resident_bytes().items():
            self.most[name] = max(self.most[name], size)


async def unfinished(client: Client) -> AsyncIterator[str]:
    async for task in client.tasks():
        if task["status"] != "completed":
            yield task["id"]


async def hashes_at_one_index(cluster: LocalCluster) -> int:
    """How many different state hashes the nodes have at the same index."""

    async def settled() -> set[str] | None:
        views = [await cluster.view(name) for name in cluster.places]
        indexes = {view["applied_index"] if view else None for view in views}
        return {view["state_hash"] for view in views if view} if len(indexes) == 1 else None

    return len(await wait_until(settled, what="one index on every node", timeout_seconds=20))


def resident_bytes(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
