"""Workers over HTTP, against a real node: registering, leasing, heartbeats, leaving."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from cluster.answers import Consistency
from cluster.core.queries import GetWorker
from cluster.replica import Replica
from gateway.client import Client
from gateway.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def call(http: aiohttp.ClientSession, method: str, path: str, **body: object) -> Any:
    """The status and the object of an answer."""
    async with http.request(method, path, json=body or None) as answer:
        return answer.status, await answer.json(content_type=None)


async def submit(http: aiohttp.ClientSession, queue: str) -> str:
    """Submit a task to the queue and return its id."""
    _, task = await call(http, "POST", "/tasks", type="process", data=1, queue=queue)
    return str(task["id"])


async def status_of(http: aiohttp.ClientSession, task_id: str) -> str:
    """A task's status now."""
    _, task = await call(http, "GET", f"/tasks/{task_id}")
    return str(task["status"])


async def register(http: aiohttp.ClientSession, queue: str, **members: object) -> str:
    """Register a worker of the queue and return its id."""
    _, session = await call(http, "POST", "/workers", queues=[queue], **members)
    return str(session["worker_id"])


async def applied_next(replica: Replica, index: int) -> None:
    """Wait for the entry after *index*: here, for the offer of the poll just begun."""
    await replica.read(GetWorker(""), consistency=Consistency.STALE, min_index=index + 1)


async def test_a_worker_is_told_how_to_stay(http: aiohttp.ClientSession, queue: str) -> None:
    status, session = await call(http, "POST", "/workers", queues=[queue], slots=2, name="anna")

    worker_id = session.pop("worker_id")
    _, worker = await call(http, "GET", f"/workers/{worker_id}")

    assert (status, session) == (201, {"lease_seconds": 15, "heartbeat_seconds": 5})
    assert (worker["name"], worker["slots"], worker["queues"]) == ("anna", 2, [queue])
    assert (worker["status"], worker["node"], worker["current_tasks"]) == ("active", "node1", [])


async def test_a_worker_that_says_nothing_serves_everything_of_the_default_queue(
    http: aiohttp.ClientSession,
) -> None:
    _, session = await call(http, "POST", "/workers")

    _, worker = await call(http, "GET", f"/workers/{session['worker_id']}")
    _, listed = await call(http, "GET", "/workers")
    await call(http, "DELETE", f"/workers/{session['worker_id']}")

    assert (worker["queues"], worker["types"], worker["slots"]) == (["default"], [], 1)
    assert worker in listed["workers"]
    assert listed["count"] == len(listed["workers"])


async def test_workers_are_listed_page_by_page(
    http: aiohttp.ClientSession, url: str, queue: str
) -> None:
    ids = [await register(http, queue) for _ in range(5)]

    listed, path = [], "/workers?limit=2"
    while path:
        _, page = await call(http, "GET", path)
        assert page["count"] == len(page["workers"]) <= 2
        listed += [worker["id"] for worker in page["workers"]]
        path = page["next"] and f"/workers?limit=2&cursor={page['next']}"
    async with Client([url]) as client:
        all_at_once = [worker["id"] for worker in await client.workers()]

    assert listed == all_at_once
    assert [worker_id for worker_id in listed if worker_id in ids] == ids


async def test_a_repeated_registration_is_the_same_worker(
    http: aiohttp.ClientSession, queue: str
) -> None:
    worker_id = new_id()

    answers = [await register(http, queue, id=worker_id) for _ in range(2)]

    assert answers == [worker_id, worker_id]


async def test_a_lease_carries_all_that_a_run_needs(
    http: aiohttp.ClientSession, queue: str
) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    body = {"type": "t", "data": [1], "queue": queue, "timeout": 5, "meta": {"a": "b"}}
    async with http.post("/tasks", json=body, headers={"traceparent": trace}) as answer:
        task_id = (await answer.json())["id"]
    worker_id = await register(http, queue)

    _, leased = await call(http, "POST", f"/workers/{worker_id}/lease")

    token = leased["tasks"][0].pop("lease_token")
    assert isinstance(token, int)
    assert leased["tasks"] == [
        {
            "id": task_id,
            "attempt": 1,
            "type": "t",
            "data": [1],
            "queue": queue,
            "priority": 4,
            "timeout": 5,
            "meta": {"a": "b"},
            "traceparent": trace,
            "cancel_requested": False,
            "progress": None,
        }
    ]


async def test_a_poll_that_does_not_wait_answers_what_there_is(
    http: aiohttp.ClientSession, queue: str
) -> None:
    worker_id = await register(http, queue, slots=5)
    path = f"/workers/{worker_id}/lease"

    empty = await call(http, "POST", path, max=2)
    for _ in range(3):
        await submit(http, queue)
    two = await call(http, "POST", path, max=2)
    one = await call(http, "POST", path, max=2)

    assert empty == (200, {"tasks": []})
    assert (len(two[1]["tasks"]), len(one[1]["tasks"])) == (2, 1)


async def test_a_waiting_poll_is_answered_as_soon_as_there_is_a_task(
    http: aiohttp.ClientSession, queue: str, replica: Replica
) -> None:
    worker_id = await register(http, queue, slots=2)
    index = replica.status().applied_index
    polling = asyncio.create_task(call(http, "POST", f"/workers/{worker_id}/lease", max=2, wait=60))
    await applied_next(replica, index)

    task_id = await submit(http, queue)
    _, leased = await polling

    assert [task["id"] for task in leased["tasks"]] == [task_id]


async def test_a_poll_that_was_answered_takes_no_more(
    http: aiohttp.ClientSession, queue: str
) -> None:
    await submit(http, queue)
    worker_id = await register(http, queue, slots=5)
    await call(http, "POST", f"/workers/{worker_id}/lease", max=5, wait=60)

    later = await submit(http, queue)

    assert await status_of(http, later) == "pending"


async def test_a_poll_whose_time_is_up_takes_nothing_afterwards(
    http: aiohttp.ClientSession, queue: str
) -> None:
    worker_id = await register(http, queue)

    answer = await call(http, "POST", f"/workers/{worker_id}/lease", wait=0.05)
    later = await submit(http, queue)

    assert answer == (200, {"tasks": []})
    assert await status_of(http, later) == "pending"


async def test_a_caller_that_hangs_up_leaves_no_offer_behind(
    http: aiohttp.ClientSession, queue: str, replica: Replica
) -> None:
    worker_id = await register(http, queue)
    index = replica.status().applied_index
    polling = asyncio.create_task(call(http, "POST", f"/workers/{worker_id}/lease", wait=60))
    await applied_next(replica, index)

    index = replica.status().applied_index
    polling.cancel()
    await applied_next(replica, index)
    later = await submit(http, queue)

    assert await status_of(http, later) == "pending"


async def test_a_repeated_request_is_given_the_same_leases(
    http: aiohttp.ClientSession, queue: str
) -> None:
    for _ in range(2):
        await submit(http, queue)
    worker_id = await register(http, queue, slots=2)
    path = f"/workers/{worker_id}/lease"

    first = await call(http, "POST", path, request_id="one")
    again = await call(http, "POST", path, request_id="one")
    other = await call(http, "POST", path, request_id="two")

    assert first == again
    assert {first[1]["tasks"][0]["id"]}.isdisjoint(task["id"] for task in other[1]["tasks"])


async def test_a_repeated_request_whose_leases_are_over_is_given_new_ones(
    http: aiohttp.ClientSession, queue: str
) -> None:
    worker_id = await register(http, queue)
    path = f"/workers/{worker_id}/lease"
    await submit(http, queue)
    _, first = await call(http, "POST", path, request_id="one")
    done = first["tasks"][0]
    await call(http, "POST", f"/tasks/{done['id']}/complete", lease_token=done["lease_token"])
    next_id = await submit(http, queue)

    _, again = await call(http, "POST", path, request_id="one")

    assert [task["id"] for task in again["tasks"]] == [next_id]


async def test_a_request_repeated_while_it_waits_takes_over(
    http: aiohttp.ClientSession, queue: str, replica: Replica
) -> None:
    worker_id = await register(http, queue)
    path = f"/workers/{worker_id}/lease"
    index = replica.status().applied_index
    first = asyncio.create_task(call(http, "POST", path, wait=60, request_id="one"))
    await applied_next(replica, index)

    again = asyncio.create_task(call(http, "POST", path, wait=60, request_id="one"))
    _, given_first = await first
    task_id = await submit(http, queue)
    _, given_again = await again

    assert given_first["tasks"] == []
    assert [task["id"] for task in given_again["tasks"]] == [task_id]


async def test_two_polls_of_a_worker_take_turns(
    http: aiohttp.ClientSession, queue: str, replica: Replica
) -> None:
    worker_id = await register(http, queue, slots=2)
    path = f"/workers/{worker_id}/lease"
    index = replica.status().applied_index
    polls = [asyncio.create_task(call(http, "POST", path, wait=60)) for _ in range(2)]
    await applied_next(replica, index)

    ids = {await submit(http, queue) for _ in range(2)}
    answers = await asyncio.gather(*polls)

    assert {task["id"] for _, given in answers for task in given["tasks"]} == ids


async def test_a_heartbeat_brings_what_the_worker_must_know(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = await submit(http, queue)
    worker_id = await register(http, queue)
    _, leased = await call(http, "POST", f"/workers/{worker_id}/lease")
    token = leased["tasks"][0]["lease_token"]
    await call(http, "DELETE", f"/tasks/{task_id}")

    status, orders = await call(
        http, "POST", f"/workers/{worker_id}/heartbeat", lease_tokens=[token, token + 1_000]
    )

    assert (status, orders) == (
        200,
        {"cancel": [task_id], "lost": [token + 1_000], "drain": False},
    )


async def test_a_worker_that_leaves_hands_its_tasks_back(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = await submit(http, queue)
    worker_id = await register(http, queue)
    await call(http, "POST", f"/workers/{worker_id}/lease")

    status, answer = await call(http, "DELETE", f"/workers/{worker_id}")

    assert (status, answer) == (200, {"success": True})
    assert await status_of(http, task_id) == "pending"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/workers/{id}"),
        ("DELETE", "/workers/{id}"),
        ("POST", "/workers/{id}/lease"),
        ("POST", "/workers/{id}/heartbeat"),
    ],
)
@pytest.mark.parametrize("worker_id", [new_id(), "7", "%00"])
async def test_an_unknown_worker_is_404_everywhere(
    http: aiohttp.ClientSession, method: str, path: str, worker_id: str
) -> None:
    status, problem = await call(http, method, path.replace("{id}", worker_id))

    assert (status, problem["code"]) == (404, "worker_unknown")


async def test_a_poll_ends_when_its_worker_leaves(
    http: aiohttp.ClientSession, queue: str, replica: Replica
) -> None:
    worker_id = await register(http, queue)
    index = replica.status().applied_index
    polling = asyncio.create_task(call(http, "POST", f"/workers/{worker_id}/lease", wait=60))
    await applied_next(replica, index)

    await call(http, "DELETE", f"/workers/{worker_id}")
    status, problem = await polling

    assert (status, problem["code"]) == (404, "worker_unknown")


async def test_a_poll_whose_turn_does_not_come_says_which_state_it_reflects(
    http: aiohttp.ClientSession, queue: str, replica: Replica
) -> None:
    path = f"/workers/{await register(http, queue)}/lease"
    index = replica.status().applied_index
    polling = asyncio.create_task(call(http, "POST", path, wait=60))
    await applied_next(replica, index)

    async with http.post(path, json={"wait": 0.01}) as answer:
        told = await answer.json()
    polling.cancel()

    assert (answer.status, told) == (200, {"tasks": []})
    assert int(answer.headers["Quorate-Applied-Index"]) > index
    assert int(answer.headers["Quorate-Term"]) == replica.status().term


async def test_what_a_worker_was_given_and_does_not_name_is_given_again_at_once(
    http: aiohttp.ClientSession, queue: str
) -> None:
    for _ in range(3):
        await submit(http, queue)
    worker_id = await register(http, queue, slots=3)
    path = f"/workers/{worker_id}/lease"
    _, first = await call(http, "POST", path, max=3)
    held, *unseen = first["tasks"]

    again = await call(http, "POST", path, max=3, wait=60, lease_tokens=[held["lease_token"]])
    one = await call(http, "POST", path, max=1, wait=60, lease_tokens=[held["lease_token"]])
    all_named = [task["lease_token"] for task in first["tasks"]]
    nothing = await call(http, "POST", path, max=3, lease_tokens=all_named)

    assert again == (200, {"tasks": unseen})
    assert one == (200, {"tasks": unseen[:1]})
    assert nothing == (200, {"tasks": []})
