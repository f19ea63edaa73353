"""Tasks over HTTP, against a real node."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgpack
import pytest

from cluster.answers import Consistency
from cluster.core.queries import Count
from cluster.replica import Replica
from gateway.event_source import EventSource
from gateway.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def submit(http: aiohttp.ClientSession, **members: object) -> Any:
    """Submit and return the answer's object."""
    body = {"type": "process", "data": None, **members}
    async with http.post("/tasks", json=body) as answer:
        assert answer.status in (200, 201), await answer.text()
        return await answer.json()


async def lease(http: aiohttp.ClientSession, queue: str) -> Any:
    """Register a worker of the queue and lease its one task."""
    async with http.post("/workers", json={"queues": [queue]}) as answer:
        worker_id = (await answer.json())["worker_id"]
    async with http.post(f"/workers/{worker_id}/lease") as answer:
        return (await answer.json())["tasks"][0]


async def call(http: aiohttp.ClientSession, method: str, path: str, **body: object) -> Any:
    """The status and the object of an answer."""
    async with http.request(method, path, json=body or None) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_submission_is_answered_with_the_task_and_what_simple_clients_read(
    http: aiohttp.ClientSession,
) -> None:
    async with http.post("/tasks", json={"type": "process", "data": "Hello World"}) as answer:
        task = await answer.json()

    assert answer.status == 201
    assert answer.headers["Location"] == f"/tasks/{task['id']}"
    assert task["success"] is True
    assert task["task_id"] == task["id"]
    assert (task["type"], task["data"], task["status"]) == ("process", "Hello World", "pending")
    assert (task["queue"], task["priority"], task["waiting_for"]) == ("default", 4, "worker")
    assert task["created_at"].endswith("Z")


async def test_whoever_prefers_a_minimal_answer_is_told_id_and_status_alone(
    http: aiohttp.ClientSession,
) -> None:
    body = {"type": "process", "data": None, "id": new_id()}
    prefer = {"Prefer": "return=minimal"}

    async with http.post("/tasks", json=body, headers=prefer) as first:
        told = await first.json()
    async with http.post("/tasks", json=body, headers=prefer) as again:
        repeated = await again.json()

    assert told == {"id": body["id"], "task_id": body["id"], "status": "pending", "success": True}
    assert (first.status, first.headers["Preference-Applied"]) == (201, "return=minimal")
    assert (again.status, repeated) == (200, told | {"duplicate": True})


async def test_a_task_reads_back_bare(http: aiohttp.ClientSession) -> None:
    submitted = await submit(http, meta={"a": "b"}, max_attempts=2, timeout=1.5)

    status, task = await call(http, "GET", f"/tasks/{submitted['id']}")

    assert status == 200
    assert submitted == task | {"success": True, "task_id": task["id"]}
    assert (task["meta"], task["max_attempts"], task["timeout"]) == ({"a": "b"}, 2, 1.5)


async def test_a_missing_content_type_means_json(http: aiohttp.ClientSession) -> None:
    body = b'{"type": "process", "data": 1}'
    async with http.post("/tasks", data=body, skip_auto_headers=["Content-Type"]) as answer:
        assert answer.status == 201


async def test_a_delayed_task_is_scheduled(http: aiohttp.ClientSession) -> None:
    later = await submit(http, delay=3600)
    dated = await submit(http, run_at="2999-01-01T00:00:00+01:00")

    assert later["status"] == dated["status"] == "scheduled"
    assert dated["run_at"] == "2998-12-31T23:00:00.000Z"


async def test_the_same_id_and_body_is_the_same_task(http: aiohttp.ClientSession) -> None:
    body = {"id": new_id().upper(), "data": {"a": 1, "b": [2]}}
    first = await submit(http, **body)

    async with http.post("/tasks", json={"type": "process", **body}) as answer:
        repeated = await answer.json()

    assert answer.status == 200
    assert repeated == first | {"duplicate": True}


async def test_the_order_of_members_does_not_make_another_body(
    http: aiohttp.ClientSession,
) -> None:
    task_id = new_id()
    first = await submit(http, id=task_id, data={"a": 1, "b": {"c": 2, "d": 3}})

    repeated = await submit(http, id=task_id, data={"b": {"d": 3, "c": 2}, "a": 1})

    assert repeated["duplicate"] is True
    assert list(first["data"]) == ["a", "b"]


@pytest.mark.parametrize(
    "other", [{"data": {"a": True}}, {"data": 1}, {"data": {"a": 1}, "priority": 9}]
)
async def test_the_same_id_with_another_body_is_a_conflict(
    http: aiohttp.ClientSession, other: dict[str, object]
) -> None:
    task_id = new_id()
    await submit(http, id=task_id, data={"a": 1})

    status, problem = await call(http, "POST", "/tasks", type="process", id=task_id, **other)

    assert (status, problem["code"]) == (409, "id_conflict")


async def test_what_msgpack_wrote_json_reads_and_the_other_way_round(
    http: aiohttp.ClientSession,
) -> None:
    packed = msgpack.packb({"type": "process", "data": {"picture": b"\x00\xff", "n": 2**64 - 1}})
    in_msgpack = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}

    async with http.post("/tasks", data=packed, headers=in_msgpack) as answer:
        assert answer.content_type == "application/msgpack"
        task_id = msgpack.unpackb(await answer.read())["id"]
    _, in_json = await call(http, "GET", f"/tasks/{task_id}")
    written = await submit(http, data=in_json["data"])
    async with http.get(f"/tasks/{written['id']}", headers=in_msgpack) as answer:
        read = msgpack.unpackb(await answer.read())

    assert in_json["data"] == {"picture": {"$bytes": "AP8="}, "n": 2**64 - 1}
    assert read["data"] == {"picture": b"\x00\xff", "n": 2**64 - 1}


async def test_pages_follow_each_other_newest_first(
    http: aiohttp.ClientSession, queue: str
) -> None:
    ids = [(await submit(http, queue=queue))["id"] for _ in range(5)]
    listed: list[str] = []
    parameters = {"queue": queue, "limit": "2"}

    while True:
        async with http.get("/tasks", params=parameters) as answer:
            page = await answer.json()
        assert page["count"] == len(page["tasks"]) <= 2
        listed += [task["id"] for task in page["tasks"]]
        if page["next"] is None:
            break
        parameters["cursor"] = page["next"]

    assert listed == ids[::-1]


async def test_filters_hold_together(http: aiohttp.ClientSession, queue: str) -> None:
    wanted = await submit(http, queue=queue, type="resize")
    await submit(http, queue=queue, type="process")
    await submit(http, queue=queue, type="resize", delay=60)

    path = f"/tasks?queue={queue}&type=resize&status=pending"
    _, page = await call(http, "GET", path)

    assert [task["id"] for task in page["tasks"]] == [wanted["id"]]


async def test_a_page_of_large_tasks_ends_early_and_goes_on(
    http: aiohttp.ClientSession, queue: str
) -> None:
    for _ in range(9):
        await submit(http, queue=queue, data="x" * 1_000_000)

    _, first = await call(http, "GET", f"/tasks?queue={queue}")
    _, second = await call(http, "GET", f"/tasks?queue={queue}&cursor={first['next']}")

    assert (first["count"], second["count"]) == (7, 2)


async def test_waiting_ends_with_the_task(http: aiohttp.ClientSession, queue: str) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    given = await lease(http, queue)

    waiting = asyncio.create_task(call(http, "GET", f"/tasks/{task_id}?wait=60"))
    await call(
        http, "POST", f"/tasks/{task_id}/complete", lease_token=given["lease_token"], result=[1.5]
    )
    status, task = await waiting

    assert (status, task["status"], task["result"]) == (200, "completed", [1.5])


async def test_waiting_shows_the_task_as_it_is_when_the_time_is_up(
    http: aiohttp.ClientSession,
) -> None:
    task_id = (await submit(http))["id"]

    status, task = await call(http, "GET", f"/tasks/{task_id}?wait=0.05")

    assert (status, task["status"]) == (200, "pending")


async def test_waiting_for_an_unknown_task_does_not_wait(http: aiohttp.ClientSession) -> None:
    status, problem = await call(http, "GET", f"/tasks/{new_id()}?wait=60")

    assert (status, problem["code"]) == (404, "task_unknown")


async def test_cancelling_a_waiting_task_ends_it_and_repeats_alike(
    http: aiohttp.ClientSession,
) -> None:
    task_id = (await submit(http))["id"]

    first = await call(http, "DELETE", f"/tasks/{task_id}")
    again = await call(http, "DELETE", f"/tasks/{task_id}")

    assert (first[0], first[1]["status"]) == (202, "cancelled")
    assert (again[0], again[1]["status"]) == (202, "cancelled")


async def test_cancelling_a_running_task_asks_its_worker(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    given = await lease(http, queue)

    status, task = await call(http, "DELETE", f"/tasks/{task_id}")
    await call(
        http, "POST", f"/tasks/{task_id}/fail", lease_token=given["lease_token"], error="stopped"
    )
    _, ended = await call(http, "GET", f"/tasks/{task_id}")

    assert (status, task["status"], task["cancel_requested"]) == (202, "processing", True)
    assert ended["status"] == "cancelled"


async def test_a_completed_task_is_neither_cancelled_nor_retried(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    token = (await lease(http, queue))["lease_token"]
    await call(http, "POST", f"/tasks/{task_id}/complete", lease_token=token)

    cancelled = await call(http, "DELETE", f"/tasks/{task_id}")
    retried = await call(http, "POST", f"/tasks/{task_id}/retry")

    assert (cancelled[0], cancelled[1]["code"]) == (409, "not_cancellable")
    assert (retried[0], retried[1]["code"]) == (409, "not_retryable")


async def test_a_failed_task_is_retried_from_the_start(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    token = (await lease(http, queue))["lease_token"]

    status, settled = await call(
        http, "POST", f"/tasks/{task_id}/fail", lease_token=token, error="no", retry=False
    )
    _, failed = await call(http, "GET", f"/tasks/{task_id}")
    retried = await call(http, "POST", f"/tasks/{task_id}/retry")

    assert (status, settled["status"]) == (200, "failed")
    assert (failed["error"], failed["attempts"]) == ("no", 1)
    assert (retried[0], retried[1]["status"], retried[1]["attempts"]) == (202, "pending", 0)


async def test_a_failed_attempt_is_tried_again_later(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    token = (await lease(http, queue))["lease_token"]

    _, settled = await call(http, "POST", f"/tasks/{task_id}/fail", lease_token=token, error="no")
    _, task = await call(http, "GET", f"/tasks/{task_id}")

    assert settled["status"] == "retrying"
    assert task["retry_at"] > task["created_at"]


async def test_a_repeated_completion_is_told_the_result_that_stands(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    token = (await lease(http, queue))["lease_token"]
    path = f"/tasks/{task_id}/complete"

    first = await call(http, "POST", path, lease_token=token, result={"a": 1})
    again = await call(http, "POST", path, lease_token=token, result={"b": 2})
    stale = await call(http, "POST", path, lease_token=token + 1, result={"c": 3})

    assert first == (200, {"success": True, "task_id": task_id, "status": "completed"})
    assert again == (200, first[1] | {"duplicate": True, "result": {"a": 1}})
    assert (stale[0], stale[1]["code"]) == (409, "lease_lost")


async def test_a_released_task_waits_again_at_no_cost(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    token = (await lease(http, queue))["lease_token"]

    status, _ = await call(http, "POST", f"/tasks/{task_id}/release", lease_token=token)
    _, task = await call(http, "GET", f"/tasks/{task_id}")

    assert (status, task["status"], task["attempts"]) == (200, "pending", 0)


async def test_progress_is_any_value(http: aiohttp.ClientSession, queue: str) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    token = (await lease(http, queue))["lease_token"]

    await call(
        http, "POST", f"/tasks/{task_id}/progress", lease_token=token, progress={"percent": 12.5}
    )
    _, task = await call(http, "GET", f"/tasks/{task_id}")

    assert task["progress"] == {"percent": 12.5}


async def test_the_next_run_is_told_how_far_the_last_one_came(
    http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    first = await lease(http, queue)
    token = first["lease_token"]
    await call(http, "POST", f"/tasks/{task_id}/progress", lease_token=token, progress={"row": 7})
    await call(http, "POST", f"/tasks/{task_id}/release", lease_token=token)

    second = await lease(http, queue)

    assert (first["progress"], second["progress"]) == (None, {"row": 7})


async def test_a_timeline_tells_each_transition(http: aiohttp.ClientSession, queue: str) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    leased = await lease(http, queue)
    token = leased["lease_token"]
    await call(http, "POST", f"/tasks/{task_id}/complete", lease_token=token, result=1)

    status, timeline = await call(http, "GET", f"/tasks/{task_id}/events")

    assert (status, timeline["count"], timeline["dropped"]) == (200, 3, 0)
    events = timeline["events"]
    assert [(event["kind"], event["status"]) for event in events] == [
        *(("submitted", "pending"), ("leased", "processing"), ("completed", "completed"))
    ]
    assert events[1] | {"lease_token": token, "attempt": 1, "error": None} == events[1]
    assert events[1]["worker_id"] == events[2]["worker_id"] is not None
    assert sorted(event["index"] for event in events) == [event["index"] for event in events]


async def test_a_timeline_and_the_stream_of_events_tell_the_same(
    url: str, http: aiohttp.ClientSession, queue: str
) -> None:
    task_id = (await submit(http, queue=queue))["id"]
    await call(http, "DELETE", f"/tasks/{task_id}")

    _, timeline = await call(http, "GET", f"/tasks/{task_id}/events")

    told = []
    async with asyncio.timeout(20):
        async for event in EventSource([url], from_oldest=True, queue=queue):
            told.append({name: event[name] for name in timeline["events"][0]})
            if event["kind"] == "cancelled":
                break
    assert timeline["events"] == told


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/tasks/{id}", None),
        ("DELETE", "/tasks/{id}", None),
        ("POST", "/tasks/{id}/retry", None),
        ("POST", "/tasks/{id}/complete", {"lease_token": 1}),
        ("POST", "/tasks/{id}/fail", {"lease_token": 1, "error": "x"}),
        ("POST", "/tasks/{id}/release", {"lease_token": 1}),
        ("POST", "/tasks/{id}/progress", {"lease_token": 1, "progress": 1}),
    ],
)
@pytest.mark.parametrize("task_id", [new_id(), "7", "a%2Fb", "%00", "%ff", "x" * 3_000])
async def test_an_unknown_task_is_404_everywhere(
    http: aiohttp.ClientSession, method: str, path: str, body: object, task_id: str
) -> None:
    async with http.request(method, path.replace("{id}", task_id), json=body) as answer:
        problem = await answer.json(content_type=None)

    assert (answer.status, problem["code"]) == (404, "task_unknown")


async def test_reads_and_writes_say_which_state_they_show(
    http: aiohttp.ClientSession, replica: Replica
) -> None:
    async with http.post("/tasks", json={"type": "a", "data": 1}) as written:
        index = int(written.headers["Quorate-Applied-Index"])
        task_id = (await written.json())["id"]
    async with http.get(f"/tasks/{task_id}") as read:
        pass
    async with http.get("/tasks", params={"consistency": "stale", "min_index": index}) as stale:
        pass
    async with http.get(f"/tasks/{new_id()}") as missing:
        pass

    for answer in (read, stale, missing):
        assert int(answer.headers["Quorate-Applied-Index"]) >= index
        assert int(answer.headers["Quorate-Term"]) == replica.status().term
    assert "Quorate-Staleness" not in read.headers
    assert stale.headers["Quorate-Staleness"] == "0"


async def test_a_refused_write_says_at_which_index(http: aiohttp.ClientSession) -> None:
    async with http.delete(f"/tasks/{new_id()}") as answer:
        assert answer.status == 404
        assert int(answer.headers["Quorate-Applied-Index"]) > 0


async def test_head_goes_with_get(http: aiohttp.ClientSession) -> None:
    async with http.head("/tasks") as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


async def test_a_hundred_submissions_at_once_are_a_hundred_tasks(
    http: aiohttp.ClientSession, queue: str, replica: Replica
) -> None:
    before = await replica.read(Count(), consistency=Consistency.STALE)

    answers = await asyncio.gather(*(submit(http, queue=queue) for _ in range(100)))

    after = await replica.read(Count(), consistency=Consistency.STALE)
    assert len({task["id"] for task in answers}) == 100
    assert (
        sum(dict(after.value.by_status).values()) - sum(dict(before.value.by_status).values())
        == 100
    )
