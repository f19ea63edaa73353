"""The blocking client: the same API, without a loop in sight."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from gateway import BlockingClient, BlockingHandle, Client, Handle, TaskCancelled, TaskUnknown
from gateway.ids import new_id
from node import Context, task


@task("add")
def add(_context: Context, left: int, right: int) -> int:
    return left + right


@pytest.fixture(scope="module")
def client(small_cluster: list[str]) -> Iterator[BlockingClient]:
    """A blocking client of one node with the built-in types."""
    with BlockingClient(small_cluster) as client:
        yield client


def test_an_async_client_may_be_used_by_one_loop_after_the_other(small_cluster: list[str]) -> None:
    client = Client(small_cluster)

    nodes = [asyncio.run(client.cluster())["node_id"] for _ in range(2)]
    asyncio.run(client.close())

    assert nodes == ["node1", "node1"]


def public(owner: type) -> dict[str, Callable[..., Any]]:
    return {
        name: getattr(owner, name)
        for name in dir(owner)
        if not name.startswith("_") and callable(getattr(owner, name))
    }


@pytest.mark.parametrize(("original", "twin"), [(Client, BlockingClient), (Handle, BlockingHandle)])
def test_the_twin_has_every_method_with_its_parameters(original: type, twin: type) -> None:
    expected, found = public(original), public(twin)

    assert found.keys() == expected.keys()
    for name, method in found.items():
        theirs = inspect.signature(expected[name])
        assert inspect.signature(method).parameters == theirs.parameters, name
        assert method.__doc__, name


def test_a_task_goes_from_submission_to_result(client: BlockingClient) -> None:
    handle = client.submit("calculate", 21)

    assert handle.result(timeout=30)["result"] == 42
    assert handle.status() == "completed"
    assert client.handle(handle.id).task()["data"] == 21


def test_a_handler_s_arguments_are_its_task_s_data(client: BlockingClient) -> None:
    handle = client.submit(add.using(delay=3600), 1, right=2)

    assert handle.task()["data"] == {"left": 1, "right": 2}
    assert not handle.is_duplicate
    handle.cancel()
    with pytest.raises(TaskCancelled):
        handle.result()


def test_an_error_is_the_async_client_s(client: BlockingClient) -> None:
    with pytest.raises(TaskUnknown):
        client.task(new_id())


def test_a_list_is_iterated_over(client: BlockingClient) -> None:
    made = [client.submit("noop", number, queue="listed").id for number in range(3)]

    assert [task["id"] for task in client.tasks(queue="listed")] == made[::-1]
    assert next(client.tasks(queue="listed"))["id"] == made[-1]


def test_many_threads_share_one_client(client: BlockingClient) -> None:
    with ThreadPoolExecutor(16) as threads:
        handles = list(threads.map(lambda number: client.submit("echo", number), range(64)))
        results = list(threads.map(lambda handle: handle.result(timeout=30), handles))

    assert results == list(range(64))


def test_a_trace_is_the_calling_thread_s(small_cluster: list[str]) -> None:
    trace = ContextVar[str]("trace")
    trace.set("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    with BlockingClient(small_cluster, traceparent=trace.get) as client:
        assert client.submit("noop").task()["traceparent"] == trace.get()


def test_a_closed_client_says_so(small_cluster: list[str]) -> None:
    client = BlockingClient(small_cluster)
    client.close()
    client.close()

    with pytest.raises(RuntimeError, match="the client is closed"):
        client.health()


def test_an_iteration_may_outlive_its_client(small_cluster: list[str]) -> None:
    with BlockingClient(small_cluster) as client:
        client.submit("noop")
        tasks = client.tasks()
        next(tasks)

    with pytest.raises(RuntimeError, match="the client is closed"):
        next(tasks)


def test_a_handle_keeps_its_client_open(small_cluster: list[str]) -> None:
    handle = BlockingClient(small_cluster).submit("echo", 1)
    gc.collect()

    assert handle.result(timeout=30) == 1


def test_a_forgotten_client_leaves_no_thread(small_cluster: list[str]) -> None:
    before = threading.active_count()
    client = BlockingClient(small_cluster)
    client.health()
    assert threading.active_count() > before

    del client
    gc.collect()

    assert threading.active_count() == before


# Python 3.12 warns of every fork beside threads; ours is what the test is about.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_is_told_to_make_its_own(client: BlockingClient) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - In the child, which reports and is gone.
        signal.alarm(20)  # Rather than wait for ever, should it wait.
        try:
            client.health()
        except RuntimeError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)

    with os.fdopen(reader, "rb") as said:
        assert b"made before a fork" in said.read()
