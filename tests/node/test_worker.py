"""The worker against a real node: leases kept, lost, drained and cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.caller import Object
from gateway.client import Client
from node.context import Context
from node.local import LocalCluster
from node.tasks import Handler, task
from node.waiting import wait_until
from node.worker import TaskWorker, WorkerSettings

LEASE_SECONDS = 1.5  # Heartbeats each 0.5 s.


@pytest.fixture
async def url(start_cluster: Callable[..., Awaitable[LocalCluster]]) -> str:
    cluster = await start_cluster(nodes=1, workers=0, lease_seconds=LEASE_SECONDS)
    return cluster.urls[0]


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as made:
        yield made


@contextlib.asynccontextmanager
async def working(
    url: str, *handlers: Handler[..., Any], **settings: Any
) -> AsyncIterator[TaskWorker]:
    """Run a worker beside the test, and stop it at the end."""
    served = {handler.name: handler for handler in handlers}
    worker = TaskWorker(served, WorkerSettings(urls=(url,), name="worker", **settings))
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await running


async def end_of(client: Client, task_id: str) -> Object:
    async def ended() -> Object | None:
        found = await client.task(task_id, wait=1)
        return found if found["finished_at"] else None

    return await wait_until(ended, what=f"the end of task {task_id}", timeout_seconds=15)


async def test_a_blocked_loop_loses_no_lease(url: str, client: Client) -> None:
    @task("block")
    async def block(_context: Context, seconds: float) -> str:
        time.sleep(seconds)  # noqa: ASYNC251 - what a careless handler does.
        return "done"

    async with working(url, block):
        submitted = await client.submit("block", 2 * LEASE_SECONDS)
        ended = await end_of(client, submitted.id)

    assert (ended["status"], ended["result"], ended["deliveries"]) == ("completed", "done", 1)


async def test_a_blocked_thread_loses_no_lease(url: str, client: Client) -> None:
    @task("block")
    def block(_context: Context, seconds: float) -> str:
        time.sleep(seconds)
        return "done"

    async with working(url, block):
        submitted = await client.submit("block", 2 * LEASE_SECONDS)
        ended = await end_of(client, submitted.id)

    assert (ended["status"], ended["deliveries"]) == ("completed", 1)


async def test_slots_bound_what_runs_at_once(url: str, client: Client) -> None:
    now, most = 0, 0

    @task("count")
    async def count(_context: Context, seconds: float) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(seconds)
        now -= 1

    async with working(url, count, slots=2):
        submitted = [await client.submit("count", 0.05) for _ in range(6)]
        for one in submitted:
            assert (await end_of(client, one.id))["status"] == "completed"

    assert most == 2


async def test_a_handler_is_told_what_it_runs(url: str, client: Client) -> None:
    @task("tell")
    async def tell(context: Context, _data: Any) -> list[Any]:
        return [context.task_id, context.type, context.attempt, dict(context.meta)]

    async with working(url, tell):
        submitted = await client.submit("tell", meta={"colour": "red"})
        ended = await end_of(client, submitted.id)

    assert ended["result"] == [submitted.id, "tell", 1, {"colour": "red"}]


async def test_a_failure_is_retried_and_then_done(url: str, client: Client) -> None:
    @task("flaky")
    async def flaky(context: Context, _data: Any) -> str:
        if context.attempt < 3:
            raise ValueError("not yet")
        return "at last"

    async with working(url, flaky):
        submitted = await client.submit("flaky", backoff={"initial": 0.05, "jitter": 0})
        ended = await end_of(client, submitted.id)

    assert (ended["result"], ended["attempts"], ended["deliveries"]) == ("at last", 2, 3)


async def test_a_result_that_cannot_be_said_fails_for_good(url: str, client: Client) -> None:
    @task("unspeakable")
    async def unspeakable(_context: Context, _data: Any) -> object:
        return object()

    async with working(url, unspeakable):
        submitted = await client.submit("unspeakable")
        ended = await end_of(client, submitted.id)

    assert (ended["status"], ended["attempts"]) == ("failed", 1)
    assert "the result cannot be reported" in ended["error"]


async def test_a_lost_lease_stops_the_run_and_the_task_runs_again(url: str, client: Client) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    @task("long")
    async def long(_context: Context, _data: Any) -> str:
        if begun.is_set():
            return "the second run"
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    async with working(url, long):
        submitted = await client.submit("long")
        await begun.wait()
        (worker,) = await client.workers()
        await client.leave(worker["id"])

        ended = await end_of(client, submitted.id)

    assert stopped.is_set()
    assert (ended["result"], ended["attempts"]) == ("the second run", 0)


async def test_a_cancelled_task_stops_its_run(url: str, client: Client) -> None:
    begun = asyncio.Event()

    @task("long")
    async def long(_context: Context, _data: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with working(url, long):
        submitted = await client.submit("long")
        await begun.wait()
        await client.cancel(submitted.id)
        ended = await end_of(client, submitted.id)

    assert ended["status"] == "cancelled"


async def test_a_stopping_worker_finishes_what_it_runs_and_leaves(url: str, client: Client) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    @task("long")
    async def long(_context: Context, _data: Any) -> str:
        begun.set()
        await may_end.wait()
        return "finished"

    async with working(url, long) as worker:
        submitted = await client.submit("long")
        await begun.wait()
        worker.stop()
        may_end.set()

    ended = await client.task(submitted.id)
    assert (ended["status"], ended["result"]) == ("completed", "finished")
    assert [found["status"] for found in await client.workers()] in ([], ["lost"])


@pytest.mark.parametrize("on_thread", [False, True])
async def test_a_drain_is_bounded_and_hands_the_rest_back(
    url: str, client: Client, on_thread: bool
) -> None:
    begun = asyncio.Event()
    home = asyncio.get_running_loop()
    may_end = threading.Event()

    @task("endless")
    async def endless(_context: Context, _data: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    @task("endless")
    def endless_thread(_context: Context, _data: Any) -> None:
        home.call_soon_threadsafe(begun.set)
        may_end.wait()

    handler: Handler[..., Any] = endless_thread if on_thread else endless
    async with working(url, handler, drain_seconds=0.1):
        submitted = await client.submit("endless")
        await begun.wait()
    may_end.set()

    handed_back = await client.task(submitted.id)
    assert (handed_back["status"], handed_back["attempts"]) == ("pending", 0)


async def test_a_worker_waits_for_a_cluster_that_is_not_there_yet() -> None:
    worker = TaskWorker({}, WorkerSettings(urls=("http://127.0.0.1:1",), name="worker"))
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)

    assert not running.done()
    worker.stop()
    async with asyncio.timeout(5):
        await running
