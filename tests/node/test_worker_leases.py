"""Leases in a worker's hands while something stands still: its loop, its node, its process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.client import Client
from gateway.submissions import Submission
from node.context import Context
from node.link import Link
from node.local import LocalCluster
from node.tasks import task
from node.waiting import wait_until
from tests.node.working import working

LEASE_SECONDS = 1.5  # Heartbeats each 0.5 s.
LONG_LEASE_SECONDS = 60.0  # No test waits for it.
END_SECONDS = 20.0

StartCluster = Callable[..., Awaitable[LocalCluster]]


@pytest.fixture
async def url(start_cluster: StartCluster) -> str:
    cluster = await start_cluster(nodes=1, workers=0, lease_seconds=LEASE_SECONDS)
    return cluster.urls[0]


async def test_a_blocked_loop_loses_no_lease(url: str) -> None:
    @task("block")
    async def block(_context: Context, seconds: float) -> str:
        time.sleep(seconds)  # noqa: ASYNC251 - what a careless handler does.
        return "done"

    async with Client(url) as client, working(url, block):
        submitted = await client.submit("block", 2 * LEASE_SECONDS)
        ended = await submitted.ended(timeout=END_SECONDS)

    assert (ended["status"], ended["result"], ended["deliveries"]) == ("completed", "done", 1)


async def test_a_blocked_thread_loses_no_lease(url: str) -> None:
    @task("block")
    def block(_context: Context, seconds: float) -> str:
        time.sleep(seconds)
        return "done"

    async with Client(url) as client, working(url, block):
        submitted = await client.submit("block", 2 * LEASE_SECONDS)
        ended = await submitted.ended(timeout=END_SECONDS)

    assert (ended["status"], ended["deliveries"]) == ("completed", 1)


class Held:
    """A handler that a test lets end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.runs = 0

        @task("held")
        async def held(_context: Context, _data: Any) -> str:
            self.runs += 1
            self.begun.set()
            await self.may_end.wait()
            return "done"

        self.handler = held


def name_that_begins_at(url: str, urls: tuple[str, ...]) -> str:
    """A worker's name that makes it connect to *url* first."""

    class Deaf:
        on_open = on_closed = on_pushed = on_answer = lambda *_: None

    names = (f"worker{number}" for number in range(1_000))
    return next(name for name in names if Link(urls, name=name, listener=Deaf()).url == url)


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_worker_takes_its_runs_along_when_its_node_ends(
    start_cluster: StartCluster, role: str, end: str
) -> None:
    cluster = await start_cluster(nodes=3, workers=0, lease_seconds=LONG_LEASE_SECONDS)
    leader = await cluster.wait_ready()
    home = leader if role == "leader" else next(n for n in cluster.places if n != leader)
    held = Held()
    name = name_that_begins_at(cluster.places[home].url, cluster.urls)
    urls = ",".join(cluster.urls)
    async with Client(cluster.urls) as client, working(urls, held.handler, name=name):
        submitted = await client.submit("held")
        await held.begun.wait()
        (before,) = await client.workers()

        if end == "killed":
            await cluster.kill(home)
        else:
            await cluster.children[home].stop(timeout_seconds=20)
        after = await until_moved(client, home)
        held.may_end.set()
        ended = await submitted.ended(timeout=END_SECONDS)

    assert (before["node"], before["id"]) == (home, after["id"])
    assert (ended["status"], ended["deliveries"], held.runs) == ("completed", 1, 1)


async def test_a_worker_takes_its_runs_along_from_a_node_that_stands_still(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster(nodes=3, workers=0, lease_seconds=2 * LEASE_SECONDS)
    leader = await cluster.wait_ready()
    home = next(name for name in cluster.places if name != leader)
    held = Held()
    name = name_that_begins_at(cluster.places[home].url, cluster.urls)
    urls = ",".join(cluster.urls)
    leaders = Client(cluster.places[leader].url)
    async with leaders as client, working(urls, held.handler, name=name, slots=1):
        submitted = await client.submit("held")
        await held.begun.wait()

        cluster.freeze(home)
        await until_moved(client, home)
        held.may_end.set()
        ended = await submitted.ended(timeout=END_SECONDS)
        after = await client.submit("held")
        ended_after = await after.ended(timeout=END_SECONDS)

    assert (ended["status"], ended["deliveries"]) == ("completed", 1)
    assert (ended_after["status"], held.runs) == ("completed", 2)


async def until_moved(client: Client, home: str) -> dict[str, Any]:
    """Wait until the only worker is connected to another node than *home*."""

    async def moved() -> dict[str, Any] | None:
        (worker,) = await client.workers()
        return worker if worker["node"] != home else None

    return await wait_until(moved, what="the worker to move", timeout_seconds=END_SECONDS)


async def test_what_was_leased_while_the_node_died_is_run_at_once(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster(nodes=3, workers=0, lease_seconds=LONG_LEASE_SECONDS)
    leader = await cluster.wait_ready()
    home = next(name for name in cluster.places if name != leader)
    held = Held()
    held.may_end.set()
    name = name_that_begins_at(cluster.places[home].url, cluster.urls)
    urls = ",".join(cluster.urls)
    leaders = Client(cluster.places[leader].url)
    async with leaders as client, working(urls, held.handler, name=name):
        await (await client.submit("held")).ended(timeout=END_SECONDS)
        cluster.freeze(home)
        submitted = await client.submit("held")  # Leased, and nobody is there to push it.
        leased = await submitted.task()
        await cluster.kill(home)

        ended = await submitted.ended(timeout=END_SECONDS)

    assert leased["status"] == "processing", "the node was suspended before it mattered"
    assert (ended["deliveries"], held.runs) == (1, 2)


async def test_a_worker_frozen_past_its_lease_completes_nothing_twice(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster(nodes=1, workers=1, lease_seconds=LEASE_SECONDS, slots=1)
    async with Client(cluster.urls) as client:
        submitted = await client.submit("sleep", 1)
        first = await until_leased(client, submitted.id)
        cluster.freeze("worker1")
        await cluster.start_worker("worker2")

        ended = await submitted.ended(timeout=END_SECONDS)
        cluster.thaw("worker1")
        later = await client.submit_many([Submission("sleep", 0.5) for _ in range(2)])
        workers = {(await handle.ended(timeout=END_SECONDS))["worker_id"] for handle in later}

        health = await client.health()

    assert (ended["deliveries"], ended["attempts"]) == (2, 0)
    assert ended["worker_id"] != first["worker_id"]
    assert len(workers) == 2, "the thawed worker has joined anew and is given tasks"
    assert health["completed_tasks"] == 3


async def until_leased(client: Client, task_id: str) -> dict[str, Any]:
    """Wait until the task is in a worker's hands."""

    async def leased() -> dict[str, Any] | None:
        found = await client.task(task_id)
        return found if found["status"] == "processing" else None

    return await wait_until(leased, what="the task to be leased", timeout_seconds=END_SECONDS)
