"""Queues, dead letters and operations over HTTP, against a real node."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from cluster.core.model import TaskStatus
from gateway.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

JUST_NONE = dict.fromkeys((status.value for status in TaskStatus), 0)


async def call(http: aiohttp.ClientSession, method: str, path: str, **body: object) -> Any:
    """The status and the object of an answer."""
    async with http.request(method, path, json=body or None) as answer:
        return answer.status, await answer.json(content_type=None)


async def submit(http: aiohttp.ClientSession, **members: object) -> str:
    """A new task's id."""
    status, task = await call(
        http, "POST", "/tasks", **{"type": "process", "data": None, **members}
    )
    assert status == 201
    return str(task["id"])


async def die(http: aiohttp.ClientSession, queue: str, **members: object) -> str:
    """The id of a task that failed for good."""
    task_id = await submit(http, queue=queue, **members)
    lease = (await leased(http, queue))[0]
    said = {"lease_token": lease["lease_token"], "error": "broken", "retry": False}
    status, _ = await call(http, "POST", f"/tasks/{task_id}/fail", **said)
    assert status == 200
    return task_id


async def leased(http: aiohttp.ClientSession, queue: str, **wish: object) -> list[Any]:
    """What a new worker of the queue is given."""
    _, worker = await call(http, "POST", "/workers", queues=[queue])
    _, given = await call(http, "POST", f"/workers/{worker['worker_id']}/lease", **wish)
    return list(given["tasks"])


async def finished(http: aiohttp.ClientSession, answer: dict[str, Any]) -> Any:
    """An operation, once it is finished."""
    async with asyncio.timeout(10):
        while True:
            status, operation = await call(http, "GET", f"/operations/{answer['operation']}")
            assert status == 200
            if operation["finished"]:
                return operation


async def test_a_queue_tells_its_depth_by_status(http: aiohttp.ClientSession, queue: str) -> None:
    await submit(http, queue=queue)
    await submit(http, queue=queue, delay=60)

    status, told = await call(http, "GET", f"/queues/{queue}")

    assert status == 200
    assert told["name"] == queue
    assert told["depth"] == JUST_NONE | {"pending": 1, "scheduled": 1}
    assert (told["paused"], told["weight"]) == (False, 1)
    assert told["max_concurrency"] is told["rate_per_second"] is told["max_length"] is None


async def test_any_name_is_a_queue(http: aiohttp.ClientSession, queue: str) -> None:
    status, told = await call(http, "GET", f"/queues/{queue}")

    assert (status, told["depth"], told["oldest_seconds"]) == (200, JUST_NONE, None)


async def test_the_oldest_ages_though_nothing_else_happens(
    http: aiohttp.ClientSession, queue: str
) -> None:
    await submit(http, queue=queue)

    async with asyncio.timeout(5):
        while (await call(http, "GET", f"/queues/{queue}"))[1]["oldest_seconds"] < 0.05:
            pass


async def test_queues_are_listed_by_name_and_in_pages(http: aiohttp.ClientSession) -> None:
    prefix = f"q{new_id()}"
    for letter in "ca.b":
        await submit(http, queue=prefix + letter)

    found, cursor = [], ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        async with http.get("/queues", params=query) as answer:
            page = await answer.json()
        assert page["count"] == len(page["queues"]) <= 2
        found += [each["name"] for each in page["queues"]]
        cursor = page["next"]

    assert [name for name in found if name.startswith(prefix)] == [
        prefix + letter for letter in ".abc"
    ]


async def test_a_paused_queue_waits_until_it_is_resumed(
    http: aiohttp.ClientSession, queue: str
) -> None:
    assert await call(http, "POST", f"/queues/{queue}/pause") == (200, {"success": True})
    await submit(http, queue=queue)

    assert (await call(http, "GET", f"/queues/{queue}"))[1]["paused"] is True
    assert await leased(http, queue) == []

    assert await call(http, "POST", f"/queues/{queue}/resume") == (200, {"success": True})
    assert len(await leased(http, queue, wait=5)) == 1


async def test_a_purge_removes_what_waits(http: aiohttp.ClientSession, queue: str) -> None:
    runs = await submit(http, queue=queue)
    await leased(http, queue)
    waits = await submit(http, queue=queue)
    waiting = asyncio.create_task(call(http, "GET", f"/tasks/{waits}?wait=60"))

    status, answer = await call(http, "DELETE", f"/queues/{queue}/tasks")
    operation = await finished(http, answer)
    told, _problem = await asyncio.wait_for(waiting, 10)

    assert (status, told) == (202, 404)
    assert (operation["done"], operation["total"], operation["kind"]) == (1, 1, "purge")
    assert (await call(http, "GET", f"/tasks/{waits}"))[0] == 404
    assert (await call(http, "GET", f"/tasks/{runs}"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", "/tasks")],
)
async def test_a_name_that_no_queue_can_have_is_refused(
    http: aiohttp.ClientSession, method: str, path: str
) -> None:
    status, problem = await call(http, method, f"/queues/a%20b{path}")

    assert (status, problem["errors"][0]["field"]) == (422, "name")


async def test_an_operation_that_is_not_known_is_404(http: aiohttp.ClientSession) -> None:
    status, problem = await call(http, "GET", f"/operations/{new_id()}")

    assert (status, problem["code"]) == (404, "operation_unknown")


async def test_dead_letters_are_listed_with_their_total(
    http: aiohttp.ClientSession, queue: str
) -> None:
    dead = [await die(http, queue) for _ in range(3)]

    status, page = await call(http, "GET", f"/dlq/failed-tasks?queue={queue}&limit=2")
    _, rest = await call(http, "GET", f"/dlq/failed-tasks?queue={queue}&cursor={page['next']}")

    assert status == 200
    assert (page["total"], page["count"], rest["count"]) == (3, 2, 1)
    assert [task["id"] for task in page["tasks"] + rest["tasks"]] == dead
    assert page["tasks"][0]["error"] == "broken"


async def test_a_dead_letter_is_put_back(http: aiohttp.ClientSession, queue: str) -> None:
    task_id = await die(http, queue)

    status, task = await call(http, "POST", f"/dlq/failed-tasks/{task_id}/retry")

    assert (status, task["status"], task["attempts"]) == (202, "pending", 0)
    assert (await call(http, "GET", f"/dlq/failed-tasks?queue={queue}"))[1]["total"] == 0


async def test_a_cancelled_task_is_no_dead_letter(http: aiohttp.ClientSession) -> None:
    task_id = await submit(http)
    await call(http, "DELETE", f"/tasks/{task_id}")

    for method, path, code in (
        ("POST", f"/dlq/failed-tasks/{task_id}/retry", "not_retryable"),
        ("DELETE", f"/dlq/failed-tasks/{task_id}", "not_removable"),
    ):
        status, problem = await call(http, method, path)
        assert (status, problem["code"]) == (409, code)


async def test_a_dead_letter_is_removed_for_good(http: aiohttp.ClientSession, queue: str) -> None:
    task_id = await die(http, queue)

    removed = await call(http, "DELETE", f"/dlq/failed-tasks/{task_id}")

    assert removed == (200, {"success": True})
    assert (await call(http, "DELETE", f"/dlq/failed-tasks/{task_id}"))[0] == 404
    assert (await call(http, "GET", f"/tasks/{task_id}"))[0] == 404


@pytest.mark.parametrize("by", ["queue", "type", "both"])
async def test_dead_letters_are_put_back_in_bulk(
    http: aiohttp.ClientSession, queue: str, by: str
) -> None:
    type_ = f"type-{queue}"
    dead = [await die(http, queue, type=type_) for _ in range(2)]
    filters = {"queue": {"queue": queue}, "type": {"type": type_}}
    chosen = filters.get(by, filters["queue"] | filters["type"])

    status, answer = await call(http, "POST", "/dlq/retry", **chosen)
    operation = await finished(http, answer)

    assert (status, operation["done"], operation["total"]) == (202, 2, 2)
    assert [(await call(http, "GET", f"/tasks/{each}"))[1]["status"] for each in dead] == [
        *("pending", "pending")
    ]


async def test_a_drained_worker_gets_nothing_more(http: aiohttp.ClientSession, queue: str) -> None:
    _, worker = await call(http, "POST", "/workers", queues=[queue], slots=2)
    worker_id = worker["worker_id"]
    running = await submit(http, queue=queue)
    await call(http, "POST", f"/workers/{worker_id}/lease")

    status, drained = await call(http, "POST", f"/workers/{worker_id}/drain")
    await submit(http, queue=queue)
    _, given = await call(http, "POST", f"/workers/{worker_id}/lease")
    _, orders = await call(http, "POST", f"/workers/{worker_id}/heartbeat")

    assert (status, drained) == (200, {"success": True, "current_tasks": [running]})
    assert (given["tasks"], orders["drain"]) == ([], True)
    assert (await call(http, "GET", f"/workers/{worker_id}"))[1]["status"] == "draining"


async def test_an_unknown_worker_cannot_be_drained(http: aiohttp.ClientSession) -> None:
    assert (await call(http, "POST", f"/workers/{new_id()}/drain"))[0] == 404
