"""Batches over HTTP, against a real node: all or none, in order."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import Any

import aiohttp
import msgpack
import pytest

from gateway import bulk
from gateway.aside import aside
from gateway.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
LINES = "application/x-ndjson"


def task(**members: object) -> dict[str, Any]:
    return {"type": "process", "data": None, **members}


async def post(
    http: aiohttp.ClientSession, content: bytes, content_type: str = JSON, **headers: str
) -> tuple[int, Any]:
    """The status and the object that a batch is answered with."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(
        "/tasks/batch", data=io.BytesIO(content), headers={"Content-Type": content_type} | named
    ) as answer:
        return answer.status, await answer.json(content_type=None)


async def batch(http: aiohttp.ClientSession, *tasks: object, **headers: str) -> tuple[int, Any]:
    """As `post`, of a JSON object."""
    return await post(http, json.dumps({"tasks": tasks}).encode(), **headers)


async def depth(http: aiohttp.ClientSession, queue: str) -> int:
    """How many tasks a queue has."""
    async with http.get(f"/queues/{queue}") as answer:
        return sum((await answer.json())["depth"].values())


async def listed(http: aiohttp.ClientSession, queue: str) -> list[Any]:
    """What the tasks of a queue hold, in the order of their submission."""
    async with http.get("/tasks", params={"queue": queue, "limit": 1_000}) as answer:
        tasks = (await answer.json())["tasks"]
    return [task["data"] for task in reversed(tasks)]


async def test_a_batch_is_answered_with_its_ids_in_the_order_given(
    http: aiohttp.ClientSession, queue: str
) -> None:
    ids = [new_id() for _ in range(3)]

    status, answer = await batch(
        http, *(task(id=id_, queue=queue, data=place) for place, id_ in enumerate(ids))
    )

    assert (status, answer) == (201, {"task_ids": ids, "count": 3})
    assert await listed(http, queue) == [0, 1, 2]


async def test_a_thousand_tasks_are_one_batch(http: aiohttp.ClientSession, queue: str) -> None:
    status, answer = await batch(http, *(task(queue=queue) for _ in range(1_000)))

    assert (status, answer["count"], await depth(http, queue)) == (201, 1_000, 1_000)


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_batch_is_of_1_to_1000(http: aiohttp.ClientSession, queue: str, count: int) -> None:
    status, problem = await batch(http, *(task(queue=queue) for _ in range(count)))

    assert status == 422
    assert problem["errors"] == [
        {"field": "tasks", "message": f"must have 1 to 1000 items, has {count}"}
    ]


async def test_a_wrong_field_is_named_with_its_place_and_nothing_is_taken(
    http: aiohttp.ClientSession, queue: str
) -> None:
    tasks: list[object] = [task(queue=queue) for _ in range(11)]
    tasks[9] = task(queue=queue, priority=99, backoff={"max": "x"})
    tasks[10] = 5

    status, problem = await batch(http, *tasks)

    assert status == 422
    assert [error["field"] for error in problem["errors"]] == [
        *("tasks[9].priority", "tasks[9].backoff.max", "tasks[10]")
    ]
    assert await depth(http, queue) == 0


async def test_what_is_only_written_otherwise_is_compared_beside_the_loop(
    http: aiohttp.ClientSession, queue: str
) -> None:
    tasks = [task(id=new_id(), queue=queue, data={"a": 1, "b": [place]}) for place in range(2)]
    status, first = await batch(http, *tasks)
    assert status == 201
    is_free = threading.Event()
    ahead = asyncio.create_task(aside(is_free.wait))

    other = [each | {"data": dict(reversed(each["data"].items()))} for each in tasks]
    repeating = asyncio.create_task(batch(http, *other))
    try:
        done, _ = await asyncio.wait((repeating,), timeout=0.3)
        assert not done, "it waits for its turn"
    finally:
        is_free.set()
        await ahead

    assert await repeating == (201, first)
    assert await depth(http, queue) == 2


async def test_a_conflict_takes_nothing(http: aiohttp.ClientSession, queue: str) -> None:
    id_ = new_id()
    await batch(http, task(id=id_, data=1))

    status, problem = await batch(http, task(queue=queue), task(id=id_, data=2))

    assert (status, problem["code"]) == (409, "id_conflict")
    assert await depth(http, queue) == 0


async def test_one_body_twice_in_a_batch_is_one_task(
    http: aiohttp.ClientSession, queue: str
) -> None:
    """Whatever the order of its members, as if one had come after the other."""
    id_ = new_id()
    one, other = ({"a": 1, "b": [2]}, {"b": [2], "a": 1})

    status, answer = await batch(
        http, *(task(id=id_, queue=queue, data=data) for data in (one, other))
    )
    refused, problem = await batch(http, *(task(id=new_id(), data=1), task(id=id_, data=one)))

    assert (status, answer["task_ids"]) == (201, [id_, id_])
    assert await depth(http, queue) == 1
    assert (refused, problem["code"]) == (409, "id_conflict")  # It has another queue.


async def test_a_seen_id_or_key_gives_its_task(http: aiohttp.ClientSession, queue: str) -> None:
    known, key = new_id(), new_id()
    _, first = await batch(http, task(id=known, data={"a": 1, "b": 2}), task(idempotency_key=key))

    _, again = await batch(
        http,
        *(task(queue=queue), task(id=known, data={"b": 2, "a": 1}), task(idempotency_key=key)),
    )

    assert again["task_ids"][1:] == first["task_ids"]
    assert await depth(http, queue) == 1


async def test_lines_are_tasks(http: aiohttp.ClientSession, queue: str) -> None:
    lines = "\n\n".join(json.dumps(task(queue=queue, data=place)) for place in range(3))

    status, answer = await post(http, lines.encode(), LINES)

    assert (status, answer["count"]) == (201, 3)
    assert await listed(http, queue) == [0, 1, 2]


@pytest.mark.parametrize(
    ("lines", "status", "told"),
    [
        (b"", 422, "tasks: must have 1 to 1000 items, has 0"),
        (b"\n \r\n", 422, "tasks: must have 1 to 1000 items, has 0"),
        (b"{}\nnot json", 400, "line 2: not JSON: Expecting value at line 1 column 1"),
        (b'{"type": "a"}', 422, "tasks[0].data: is required"),
        (b"5\n" * 1_001, 422, "tasks: must have 1 to 1000 items, has 1001"),
    ],
)
async def test_wrong_lines_are_told_which(
    http: aiohttp.ClientSession, lines: bytes, status: int, told: str
) -> None:
    assert (await post(http, lines, LINES))[0] == status
    assert (await post(http, lines, LINES))[1]["detail"] == told


async def test_lines_are_for_batches_alone(http: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": LINES}
    async with http.post("/tasks", data=json.dumps(task()), headers=headers) as answer:
        assert answer.status == 415


async def test_a_batch_may_be_larger_than_a_task(http: aiohttp.ClientSession, queue: str) -> None:
    large = task(queue=queue, data="x" * 1_000_000)

    for content, type_ in (
        (json.dumps({"tasks": [large] * 12}).encode(), JSON),
        (msgpack.packb({"tasks": [large] * 12}), "application/msgpack"),
        (b"\n".join([json.dumps(large).encode()] * 12), LINES),
    ):
        status, answer = await post(http, content, type_)
        assert (status, answer["count"]) == (201, 12)


async def test_one_task_that_is_too_large_is_named(http: aiohttp.ClientSession) -> None:
    status, problem = await batch(http, task(), task(data="x" * 1_048_576))

    assert status == 413
    assert problem["errors"][0]["field"] == "tasks[1].data"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"tasks": [' + b"[]," * 5_000_000 + b"0]}", JSON),
        (b'{"tasks": [' + b"0," * 7_000_000 + b"0]}", JSON),
        (b"[0,0]," * 600_000, LINES),
        (msgpack.packb({"tasks": [[None] * 1_000] * 1_001}), "application/msgpack"),
        (b"\xdd\x00\xf0\x00\x00" + b"\xc0" * 0xF00000, "application/msgpack"),
    ],
    ids=["lists", "numbers", "lines", "packed", "packed flat"],
)
async def test_too_many_values_are_not_read(
    http: aiohttp.ClientSession, content: bytes, content_type: str
) -> None:
    status, problem = await post(http, content, content_type)

    assert (status, problem["code"]) == (413, "too_large")
    assert "1,000,000 values" in problem["detail"]


async def test_signs_within_strings_are_no_values() -> None:
    prose = {"tasks": ["a, [b], {c} \\" * 400_000]}

    assert bulk.decode_bulk(json.dumps(prose).encode(), JSON, "tasks") == prose


async def test_a_key_in_the_header_is_of_no_task_in_particular(
    http: aiohttp.ClientSession, queue: str
) -> None:
    status, problem = await batch(http, task(queue=queue), Idempotency_Key="k")

    assert (status, problem["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert await depth(http, queue) == 0
