"""The cluster for other people's tests: real, in their process, loop or no loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway import BlockingClient, Client, InvalidRequest, TaskFailed
from node import Context, GiveUp, task
from node.testing import MemoryCluster


@task("greet", queue="greetings")
async def greet(_context: Context, name: str) -> str:
    return f"Hello {name}"


@task("refuse")
def refuse(_context: Context) -> None:
    raise GiveUp("never")


def test_a_test_without_a_loop_runs_tasks(quorate_cluster: MemoryCluster) -> None:
    quorate_cluster.serve(greet)

    with BlockingClient(quorate_cluster.url) as client:
        assert client.submit(greet, "World").result(timeout=10) == "Hello World"


async def test_a_test_with_a_loop_runs_tasks(quorate_cluster: MemoryCluster) -> None:
    quorate_cluster.serve(greet, refuse, slots=2)

    async with Client(quorate_cluster.url) as client:
        handles = [await client.submit(greet, name) for name in ("Ada", "Alan")]
        greetings = await asyncio.gather(*(handle.result(timeout=10) for handle in handles))
        refused = await client.submit(refuse)
        with pytest.raises(TaskFailed, match="never"):
            await refused.result(timeout=10)

    assert greetings == ["Hello Ada", "Hello Alan"]


def test_a_worker_may_come_later_and_another_one_too(quorate_cluster: MemoryCluster) -> None:
    with BlockingClient(quorate_cluster.url) as client:
        handle = client.submit(greet, "World")
        refused = client.submit(refuse)
        quorate_cluster.serve(greet)
        quorate_cluster.serve(refuse)

        assert handle.result(timeout=10) == "Hello World"
        with pytest.raises(TaskFailed):
            refused.result(timeout=10)


def test_a_worker_may_have_the_tags_that_a_task_requires(quorate_cluster: MemoryCluster) -> None:
    quorate_cluster.serve(greet)
    quorate_cluster.serve(greet, tags=["gpu"])

    with BlockingClient(quorate_cluster.url) as client:
        handle = client.submit(greet.using(requires=["gpu"]), "World")
        ended = handle.ended(timeout=10)
        worker = client.worker(ended["worker_id"])

    assert worker["tags"] == ["gpu"]


def test_a_function_that_is_no_handler_is_told_what_it_lacks(
    quorate_cluster: MemoryCluster,
) -> None:
    def plain(_context: Context) -> None: ...

    with pytest.raises(TypeError, match=r"plain .* is no handler: @task makes one of it"):
        quorate_cluster.serve(plain)  # type: ignore[arg-type]
    with (
        BlockingClient(quorate_cluster.url) as client,
        pytest.raises(TypeError, match=r"plain .* nor a handler: @task makes one of it"),
    ):
        client.submit(plain)  # type: ignore[call-overload]


def test_a_worker_that_the_cluster_refuses_is_said_at_once() -> None:
    @task("crowd", queue="no such name: it is much too long" * 10)
    def crowd(_context: Context) -> None: ...

    with MemoryCluster() as cluster, pytest.raises(InvalidRequest, match="queues"):
        cluster.serve(crowd)


def test_each_cluster_is_a_new_one_and_leaves_nothing() -> None:
    before = threading.active_count()
    for _ in range(2):
        with MemoryCluster() as cluster, BlockingClient(cluster.url) as client:
            assert client.health()["pending_tasks"] == 0
            client.submit("nobody's")

    assert threading.active_count() == before
