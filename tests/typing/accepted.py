"""Calls that mypy takes, and what it knows of their results. Read by mypy, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

from gateway import BlockingClient, BlockingHandle, Client, Handle, Submission
from node import Context
from tests.typing.work import add, resize, tick


async def submitting(client: Client) -> None:
    handle = await client.submit(resize, "http://a", width_px=200)
    assert_type(handle, Handle[bytes])
    assert_type(await handle.result(timeout=60), bytes)
    assert_type(await handle.result(), bytes)
    assert_type(await client.submit(resize, url="http://a"), Handle[bytes])
    assert_type(await client.submit(add, [1, 2]), Handle[int])
    assert_type(await client.submit(tick), Handle[None])
    assert_type(await client.submit(add.using(priority=9, delay=1.5), [1]), Handle[int])
    assert_type(client.handle("an id", add), Handle[int])
    assert_type(client.handle("an id"), Handle[Any])


async def submitting_by_type(client: Client) -> None:
    assert_type(await client.submit("any"), Handle[Any])
    assert_type(await client.submit("any", {"a": [1, None]}, queue="q", ttl=5), Handle[Any])
    await client.submit("any", 1, run_at=datetime.now(UTC), meta={"a": "b"}, requires=["gpu"])


async def submitting_many(client: Client) -> None:
    same = await client.submit_many([add.submission([1]), add.submission([2, 3])])
    assert_type(same, list[Handle[int]])
    plain = await client.submit_many([Submission("any", 1, queue="q"), Submission("other")])
    assert_type(plain, list[Handle[Any]])


async def looking(client: Client) -> None:
    async for task in client.tasks(status="failed", queue="q"):
        assert_type(task, dict[str, Any])
    assert_type(await client.task("an id", wait=5), dict[str, Any])
    assert_type(await client.purge_queue("q"), str)


def blocking(client: BlockingClient) -> None:
    handle = client.submit(resize, "http://a", width_px=200)
    assert_type(handle, BlockingHandle[bytes])
    assert_type(handle.result(timeout=60), bytes)
    assert_type(handle.task(), dict[str, Any])
    assert_type(client.submit("any", 1, priority="low"), BlockingHandle[Any])
    assert_type(client.submit_many([add.submission([1])]), list[BlockingHandle[int]])
    assert_type(client.handle("an id", add), BlockingHandle[int])
    assert_type(client.task("an id", wait=5), dict[str, Any])
    assert_type(client.cancel(task_id="an id"), dict[str, Any])
    for task in client.tasks(status="failed"):
        assert_type(task, dict[str, Any])


async def calling_handlers_themselves() -> None:
    assert_type(add(Context(), [1]), int)
    assert_type(await resize(Context(), "http://a"), bytes)
