"""Handles: what was submitted is waited for, and how it ended is told in the caller's own terms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import pytest_asyncio

from gateway import (
    Client,
    Handle,
    InvalidRequest,
    NoQuorum,
    RequestRefused,
    Submission,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskUnknown,
    caller,
    client_calls,
)
from gateway.ids import new_id
from gateway.problems import Problem
from node import Context, task
from tests.gateway.strangers import stranger

pytestmark = pytest.mark.asyncio(loop_scope="module")


@task("images.resize", timeout=60, max_attempts=1)
async def resize(_context: Context, url: str, width_px: int = 100) -> bytes:
    return f"{url}@{width_px}".encode()


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    """A client of the one node."""
    async with Client(url) as client:
        yield client


async def lease(client: Client, queue: str) -> dict[str, Any]:
    """The next task of the queue, in the hands of a worker made for it."""
    worker = await client.register(queues=[queue])
    (given,) = await client.lease(worker["worker_id"], wait=10)
    return given


async def test_a_handler_s_arguments_are_its_task_s_data(client: Client, queue: str) -> None:
    handle = await client.submit(resize.using(queue=queue, priority="high"), "a.png", width_px=7)

    task = await handle.task()

    assert task["data"] == {"url": "a.png", "width_px": 7}
    assert (task["type"], task["queue"], task["priority"]) == ("images.resize", queue, 7)
    assert (task["timeout"], task["max_attempts"]) == (60, 1)


async def test_a_result_is_waited_for(client: Client, queue: str) -> None:
    handle = await client.submit(resize.using(queue=queue), "a.png")
    waiting = asyncio.create_task(handle.result(timeout=60))
    given = await lease(client, queue)

    await client.complete(given["id"], given["lease_token"], b"pixels")

    assert await waiting == b"pixels"
    assert await handle.status() == "completed"
    assert await client.handle(handle.id, resize).result() == b"pixels"


async def test_a_failure_is_raised_with_what_it_said(client: Client, queue: str) -> None:
    handle = await client.submit(resize.using(queue=queue), "a.png")
    given = await lease(client, queue)
    await client.fail(given["id"], given["lease_token"], "no such picture")

    with pytest.raises(TaskFailed, match=r"'images\.resize' failed: no such picture") as failed:
        await handle.result()

    assert failed.value.error == "no such picture"
    assert failed.value.task["attempts"] == 1


async def test_a_cancelled_task_has_no_result_until_it_is_retried(
    client: Client, queue: str
) -> None:
    handle = await client.submit(resize.using(queue=queue), "a.png")
    await handle.cancel()
    with pytest.raises(TaskCancelled):
        await handle.result()

    await handle.retry()

    assert await handle.status() == "pending"


async def test_an_expired_task_has_no_result(client: Client, queue: str) -> None:
    handle = await client.submit("a", 1, queue=queue, ttl=0.05)

    with pytest.raises(TaskExpired):
        await handle.result(timeout=30)


async def test_a_task_that_has_not_ended_in_time_is_a_timeout(client: Client, queue: str) -> None:
    handle = await client.submit("a", 1, queue=queue)

    with pytest.raises(TimeoutError, match=rf"task {handle.id} is pending after 0.05 seconds"):
        await handle.result(timeout=0.05)
    with pytest.raises(TimeoutError, match="is pending after 0 seconds"):
        await handle.result(timeout=0)


async def test_the_wait_is_on_the_server() -> None:
    seen: list[dict[str, object]] = []
    async with stranger(Problem("no_quorum", "why"), seen) as url, Client(url) as client:
        with pytest.raises(TimeoutError, match="could not be asked about"):
            await client.handle("an id").result(timeout=0.25)

    assert seen[0] == {"id": "an id", "wait": 0.25}


class Watched(Client):
    """A client that keeps how fresh the states had to be that it read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[int | None] = []

    async def call(self, *given: Any, after_index: int | None = None, **named: Any) -> Any:
        self.asked.append(after_index)
        return await super().call(*given, after_index=after_index, **named)


async def test_a_result_of_one_s_own_task_is_asked_of_no_leader(url: str, queue: str) -> None:
    async with Watched(url) as client:
        handle = await client.submit(resize.using(queue=queue), "a.png")
        given = await lease(client, queue)
        await client.complete(given["id"], given["lease_token"], b"pixels")
        client.asked.clear()

        assert await handle.result() == b"pixels"

        (index,) = client.asked
        assert index is not None
        assert 0 < index <= (await client.cluster())["applied_index"]


async def test_that_there_is_no_result_is_said_by_the_leader(url: str, queue: str) -> None:
    async with Watched(url) as client:
        handle = await client.submit(resize.using(queue=queue), "a.png")
        await handle.cancel()
        client.asked.clear()

        with pytest.raises(TaskCancelled):
            await handle.result()

        known, confirmed = client.asked
        assert known is not None
        assert confirmed is None


async def test_a_task_that_nobody_can_be_asked_about_is_a_timeout(free_port: int) -> None:
    async with Client(f"http://127.0.0.1:{free_port}") as client:
        with pytest.raises(TimeoutError, match="could not be asked about") as timeout:
            await client.handle(new_id()).result(timeout=0.05)

    assert isinstance(timeout.value.__cause__, NoQuorum)


async def test_a_task_that_is_not_there_is_no_timeout(client: Client) -> None:
    with pytest.raises(TaskUnknown):
        await client.handle(new_id()).result(timeout=60)


async def test_one_key_is_one_task(client: Client, queue: str) -> None:
    keyed = resize.using(queue=queue, idempotency_key=f"key-{queue}")

    first = await client.submit(keyed, "a.png")
    second = await client.submit(keyed, "a.png")

    assert first.id == second.id
    assert (first.is_duplicate, second.is_duplicate) == (False, True)


async def test_a_moment_is_given_with_its_time_zone(client: Client, queue: str) -> None:
    moment = datetime(2999, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))

    handle = await client.submit("a", 1, queue=queue, run_at=moment)

    assert (await handle.task())["run_at"] == "2999-01-02T01:00:00.000Z"
    with pytest.raises(ValueError, match="no time zone"):
        await client.submit("a", 1, run_at=datetime(2999, 1, 2))  # noqa: DTZ001 - That is the point.


async def test_a_trace_goes_along(url: str, queue: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with Client(url, traceparent=lambda: trace) as client:
        one = await client.submit(resize.using(queue=queue), "a.png")
        (many,) = await client.submit_many([Submission("a", 1, queue=queue)])

        assert (await one.task())["traceparent"] == trace
        assert (await many.task())["traceparent"] == trace


async def test_what_cannot_be_sent_is_said_by_the_type_that_it_is_of(client: Client) -> None:
    with pytest.raises(TypeError, match="object"):
        await client.submit("a", {"picture": object()})


async def test_a_list_goes_on_over_its_pages(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_calls, "PAGE_LIMIT", 2)
    made = [(await client.submit("a", number, queue=queue)).id for number in range(5)]

    listed = [task["id"] async for task in client.tasks(queue=queue)]

    assert listed == made[::-1]


async def test_more_may_wait_than_a_node_lets_wait_at_once(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "WAITING_MAX", 2)
    monkeypatch.setattr(caller, "CROWDED_WAIT_SECONDS", 0.05)
    async with Client(client._caller.urls) as crowded:
        handles = [await crowded.submit("a", n, queue=queue, priority=n) for n in range(5)]
        waiting = [asyncio.create_task(handle.result(timeout=60)) for handle in handles]
        given = await lease(client, queue)
        await client.complete(given["id"], given["lease_token"], "the last one's")

        async with asyncio.timeout(15):  # Half of what one of the others waits undisturbed.
            assert await waiting[-1] == "the last one's"
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_batch_is_submitted_in_its_order(client: Client, queue: str) -> None:
    many = [resize.using(queue=queue).submission(f"{n}.png") for n in range(3)]

    handles = await client.submit_many(many)

    assert [(await handle.task())["data"]["url"] for handle in handles] == [
        "0.png",
        "1.png",
        "2.png",
    ]
    assert await client.submit_many([]) == []


async def test_a_batch_is_taken_whole_or_not_at_all(client: Client, queue: str) -> None:
    wrong = Submission("a", 1, queue=queue, priority=99)

    with pytest.raises(InvalidRequest) as invalid:
        await client.submit_many([Submission("a", 1, queue=queue), wrong])

    assert invalid.value.errors[0]["field"] == "tasks[1].priority"
    assert [task async for task in client.tasks(queue=queue)] == []


async def test_data_that_no_node_reads_is_refused_alone(client: Client, queue: str) -> None:
    good = [client.submit("a", number, queue=queue) for number in range(20)]
    bad = [client.submit("a", data) for data in ({1: "a number is no name"}, float("nan"))]

    ended = await asyncio.gather(*good, *bad, return_exceptions=True)

    assert all(isinstance(one, Handle) for one in ended[:20])
    assert [one.code for one in ended[20:] if isinstance(one, RequestRefused)] == [
        "undecodable",
        "undecodable",
    ]
