"""The worker against a real node in this process: what it runs, reports, stops and hands back."""

from __future__ import annotations

import asyncio
import re
import runpy
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.client_errors import InvalidRequest
from gateway.submissions import Backoff
from node.context import Context
from node.tasks import Handler, task
from node.testing import MemoryCluster
from node.waiting import wait_until
from node.worker import TaskWorker, WorkerSettings
from tests.node import process_handlers
from tests.node.working import working

DOCS = Path(__file__).resolve().parents[2] / "docs/workers.md"
END_SECONDS = 15.0
HEARTBEAT_SECONDS = 5.0  # With the cluster's usual leases.


@pytest.fixture
def url(quorate_cluster: MemoryCluster) -> str:
    return quorate_cluster.url


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as made:
        yield made


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
            assert (await one.ended(timeout=END_SECONDS))["status"] == "completed"

    assert most == 2


async def test_a_handler_is_told_what_it_runs(url: str, client: Client) -> None:
    @task("tell")
    async def tell(context: Context, _data: Any) -> list[Any]:
        return [context.task_id, context.type, context.attempt, dict(context.meta)]

    async with working(url, tell):
        submitted = await client.submit("tell", meta={"colour": "red"})
        ended = await submitted.ended(timeout=END_SECONDS)

    assert ended["result"] == [submitted.id, "tell", 1, {"colour": "red"}]


async def test_a_failure_is_retried_and_then_done(url: str, client: Client) -> None:
    @task("flaky")
    async def flaky(context: Context, _data: Any) -> str:
        if context.attempt < 3:
            raise ValueError("not yet")
        return "at last"

    async with working(url, flaky):
        submitted = await client.submit("flaky", backoff={"initial": 0.05, "jitter": 0})
        ended = await submitted.ended(timeout=END_SECONDS)

    assert (ended["result"], ended["attempts"], ended["deliveries"]) == ("at last", 2, 3)


async def test_a_run_that_can_have_no_thread_fails_its_attempt(
    url: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task("threaded", max_attempts=1)
    def threaded(_context: Context, _data: Any) -> None:
        """Run on a thread, if one can be had."""

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("threaded"):
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refuse)
    async with working(url, threaded):
        submitted = await client.submit("threaded", max_attempts=1)
        ended = await submitted.ended(timeout=END_SECONDS)

    assert ended["status"] == "failed"
    assert ended["error"] == "it could not be started: can't start new thread"


async def test_a_result_that_cannot_be_said_fails_for_good(url: str, client: Client) -> None:
    @task("unspeakable")
    async def unspeakable(_context: Context, _data: Any) -> object:
        return object()

    async with working(url, unspeakable):
        submitted = await client.submit("unspeakable")
        ended = await submitted.ended(timeout=END_SECONDS)

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

        ended = await submitted.ended(timeout=END_SECONDS)

    assert stopped.is_set()
    assert (ended["result"], ended["attempts"]) == ("the second run", 0)


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
    worker = TaskWorker([], WorkerSettings(urls="http://127.0.0.1:1"))
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)

    assert not running.done()
    worker.stop()
    async with asyncio.timeout(5):
        await running


@task("hang")
async def hang_on_the_loop(context: Context, _data: Any) -> None:
    context.progress("begun")
    await asyncio.Event().wait()


@task("hang")
def hang_on_a_thread(context: Context, _data: Any) -> None:
    context.progress("begun")
    context.cancelled.wait(timeout=30)
    raise RuntimeError("told to stop")


@pytest.fixture(
    params=[hang_on_the_loop, hang_on_a_thread, process_handlers.hang],
    ids=["loop", "thread", "process"],
)
def hang(request: pytest.FixtureRequest) -> Handler[..., Any]:
    """A handler that says that it has begun, and goes on until it is stopped."""
    handler: Handler[..., Any] = request.param
    return handler


@task("echo")
async def echo(_context: Context, data: Any) -> Any:
    return data


async def until_begun(client: Client, task_id: str) -> None:
    """Wait for the first word of the task's run."""

    async def begun() -> bool:
        return (await client.task(task_id))["progress"] is not None

    await wait_until(begun, what=f"task {task_id} to begin", timeout_seconds=END_SECONDS)


async def test_a_cancelled_task_stops_its_run_long_before_a_heartbeat(
    url: str, client: Client, hang: Handler[..., Any]
) -> None:
    async with working(url, hang, slots=1):
        submitted = await client.submit("hang")
        await until_begun(client, submitted.id)

        await submitted.cancel()
        async with asyncio.timeout(HEARTBEAT_SECONDS - 1):
            ended = await submitted.ended()

    assert (ended["status"], ended["attempts"]) == ("cancelled", 0)


async def test_a_run_that_takes_too_long_is_stopped_and_its_slot_is_free(
    url: str, client: Client, hang: Handler[..., Any]
) -> None:
    async with working(url, hang, echo, slots=1):
        submitted = await client.submit("hang", timeout=1, max_attempts=1)
        after = await client.submit("echo", "next")
        ended = await submitted.ended(timeout=END_SECONDS)
        next_one = await after.ended(timeout=END_SECONDS)

    assert (ended["status"], ended["error"], ended["attempts"]) == ("failed", "timeout", 1)
    assert next_one["result"] == "next"


async def test_the_next_run_goes_on_from_the_checkpoint_of_the_last(
    url: str, client: Client
) -> None:
    @task("walk")
    async def walk(context: Context, steps: int) -> list[Any]:
        first = context.last_checkpoint or 0
        for step in range(first, steps):
            context.progress({"percent": 100 * step // steps})
            context.checkpoint(step + 1)
            if step + 1 == context.attempt * 2:
                raise RuntimeError("tired")
        return [first, context.attempt]

    async with working(url, walk):
        submitted = await client.submit("walk", 5, backoff={"initial": 0.05, "jitter": 0})
        ended = await submitted.ended(timeout=END_SECONDS)

    assert ended["result"] == [4, 3]


async def test_a_process_that_dies_fails_its_attempt_alone(url: str, client: Client) -> None:
    async with working(url, process_handlers.dies, process_handlers.tell, slots=1):
        backoff: Backoff = {"initial": 0.05, "jitter": 0}
        submitted = await client.submit("processes.dies", 9, max_attempts=2, backoff=backoff)
        after = await client.submit("processes.tell", 1)
        ended = await submitted.ended(timeout=END_SECONDS)
        told = await after.ended(timeout=END_SECONDS)

    assert (ended["error"], ended["attempts"]) == ("its process was killed by SIGKILL", 2)
    assert told["result"] == [after.id, "processes.tell", 1, None]


async def test_a_worker_is_given_what_its_queues_types_and_tags_allow(
    url: str, client: Client
) -> None:
    async with working(url, echo, queues=("a", "b"), tags=("gpu",)):
        fitting = [
            await client.submit("echo", 1, queue="a"),
            await client.submit("echo", 2, queue="b", requires=["gpu"]),
        ]
        others = [
            await client.submit("echo", 3, queue="c"),
            await client.submit("echo", 4, queue="a", requires=["gpu", "tpu"]),
            await client.submit("other", 5, queue="a"),
        ]
        results = [await handle.result(timeout=END_SECONDS) for handle in fitting]

        assert results == [1, 2]
        assert {(await other.task())["status"] for other in others} == {"pending"}


async def test_a_worker_that_the_cluster_drains_ends_what_it_runs_and_leaves(
    url: str, client: Client
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    @task("long")
    async def long(_context: Context, _data: Any) -> str:
        begun.set()
        await may_end.wait()
        return "finished"

    worker = TaskWorker([long], WorkerSettings(urls=url))
    running = asyncio.create_task(worker.run())
    submitted = await client.submit("long")
    await begun.wait()
    (listed,) = await client.workers()

    await client.call("drain", {"id": listed["id"]})
    may_end.set()
    async with asyncio.timeout(END_SECONDS):
        await running

    assert await submitted.result(timeout=END_SECONDS) == "finished"
    assert await client.workers() == []


async def test_a_worker_in_a_program_is_written_as_the_docs_say(
    url: str, client: Client, tmp_path: Path
) -> None:
    (example,) = re.findall(r"```python\n(import asyncio\n.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "program.py").write_text(example)
    program = runpy.run_path(str(tmp_path / "program.py"))
    done = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(program["serve"](url, done))
        submitted = await client.submit(program["greet"], "World")
        greeting = await submitted.result(timeout=END_SECONDS)
        done.set()

    assert greeting == "Hello World"
    assert await client.workers() == []


async def test_a_worker_that_is_cancelled_hands_back_what_it_runs_and_leaves(
    url: str, client: Client
) -> None:
    begun = asyncio.Event()

    @task("endless", queue="elsewhere")
    async def endless(_context: Context, _data: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(TaskWorker([endless], WorkerSettings(urls=url)).run())
    submitted = await client.submit(endless, None)
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await submitted.status() == "pending"
    assert await client.workers() == []


async def test_a_worker_that_the_cluster_does_not_take_says_why(url: str) -> None:
    worker = TaskWorker([], WorkerSettings(urls=url, queues=[""]))

    async with asyncio.timeout(END_SECONDS):
        with pytest.raises(InvalidRequest, match="queues"):
            await worker.run()
