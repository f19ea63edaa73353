"""Idempotency keys: where they are given, and what is the same body."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgpack
import pytest

from cluster.core.model import Backoff, Idempotency
from cluster.core.queue_commands import PurgeQueue
from cluster.replica import Replica
from gateway import schema
from gateway.defaults import SubmitDefaults
from gateway.encoding import Format
from gateway.ids import new_id
from tests.gateway.test_schema import TASK, complaints

PLAIN = SubmitDefaults()


def key_of(members: dict[str, object], **headers: str) -> Idempotency | None:
    """What the machine is told of a submission's key."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return schema.new_task(TASK | members, names, PLAIN, Format.JSON).idempotency


def digest(members: dict[str, object], written_in: Format = Format.JSON) -> bytes:
    """The digest of a submission under a key."""
    new = schema.new_task(TASK | members | {"idempotency_key": "k"}, {}, PLAIN, written_in)
    assert new.idempotency is not None
    return new.idempotency.body


def test_a_submission_without_a_key_has_none() -> None:
    assert key_of({}) is None


def test_a_member_and_a_header_are_the_same_key() -> None:
    member = key_of({"idempotency_key": "k"})

    assert member is not None
    assert member.key == "k"
    assert member == key_of({}, Idempotency_Key="k")
    assert member == key_of({"idempotency_key": "k"}, Idempotency_Key="k")


def test_a_member_and_a_header_that_differ_are_refused() -> None:
    told = complaints(lambda: key_of({"idempotency_key": "k"}, Idempotency_Key="l"))

    assert told == {"Idempotency-Key": "differs from idempotency_key: give one of the two"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "must have 1 to 255 characters, has 0"),
        ("x" * 256, "must have 1 to 255 characters, has 256"),
        ("a\tb", "must be readable text in UTF-8"),
        ("a\udcff", "must be readable text in UTF-8"),
    ],
)
def test_a_header_that_is_no_key_is_refused(value: str, message: str) -> None:
    assert complaints(lambda: key_of({}, Idempotency_Key=value)) == {"Idempotency-Key": message}


@pytest.mark.parametrize(
    "members",
    [
        {"priority": "normal", "queue": "default", "delay": 0, "max_attempts": 4},
        {"id": new_id()},
        {"backoff": {"initial": 5}},
        {"meta": {}},
    ],
)
def test_what_is_left_out_is_what_is_filled_in(members: dict[str, object]) -> None:
    assert digest(members) == digest({})


@pytest.mark.parametrize(
    "members",
    [
        {"data": 2},
        {"data": 1.0},
        {"data": True},
        {"data": "1"},
        {"type": "other"},
        {"queue": "other"},
        {"priority": 5},
        {"delay": 1},
        {"run_at": "2999-01-01T00:00:00Z"},
        {"max_attempts": 5},
        {"backoff": {"jitter": 0}},
        {"ttl": 5},
        {"requires": ["gpu"]},
        {"meta": {"a": "b"}},
    ],
)
def test_another_body_has_another_digest(members: dict[str, object]) -> None:
    assert digest(members) != digest({})


def test_the_way_it_is_written_makes_no_other_body() -> None:
    data = {"a": 1, "b": {"c": b"x", "d": None}}
    turned = {"b": {"d": None, "c": b"x"}, "a": 1}

    assert digest({"data": data}) == digest({"data": turned}, Format.MSGPACK)


def test_another_nodes_defaults_make_another_body() -> None:
    elsewhere = SubmitDefaults(max_attempts=9, backoff=Backoff())
    new = schema.new_task(TASK | {"idempotency_key": "k"}, {}, elsewhere, Format.JSON)

    assert new.idempotency is not None
    assert new.idempotency.body != digest({})


async def post(http: aiohttp.ClientSession, key: str, **members: object) -> tuple[int, Any]:
    """Submit under a key, and the status and object of the answer."""
    body = {"type": "process", "data": {"a": 1, "b": 2}, **members}
    async with http.post("/tasks", json=body, headers={"Idempotency-Key": key}) as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_repeat_is_answered_with_the_first_task(http: aiohttp.ClientSession) -> None:
    key = new_id()
    status, first = await post(http, key)
    repeated_status, repeated = await post(http, key, data={"b": 2, "a": 1})

    assert (status, repeated_status) == (201, 200)
    assert repeated == first | {"duplicate": True}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_repeat_in_another_format_is_the_same(http: aiohttp.ClientSession) -> None:
    key = new_id()
    _, first = await post(http, key)
    body = msgpack.packb(
        {"idempotency_key": key, "data": {"b": 2, "a": 1}, "type": "process", "priority": 4}
    )

    headers = {"Content-Type": "application/msgpack", "Accept": "application/json"}
    async with http.post("/tasks", data=body, headers=headers) as answer:
        repeated = await answer.json()

    assert answer.status == 200
    assert repeated["task_id"] == first["task_id"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_key_with_another_body_is_a_conflict(http: aiohttp.ClientSession) -> None:
    key = new_id()
    await post(http, key)

    status, problem = await post(http, key, data=5)

    assert (status, problem["code"]) == (409, "idempotency_conflict")
    assert key in problem["detail"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_outlives_its_task(
    http: aiohttp.ClientSession, replica: Replica, queue: str
) -> None:
    key = new_id()
    _, first = await post(http, key, queue=queue)
    await replica.propose(PurgeQueue(new_id(), queue))

    status, repeated = await post(http, key, queue=queue)

    assert status == 200
    assert repeated == {
        "id": first["id"],
        "task_id": first["id"],
        "status": "gone",
        "success": True,
        "duplicate": True,
    }
