"""`/connect` against a real node: calls are answered as HTTP answers them, many at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest
import pytest_asyncio

from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from gateway.connect import CALLS_MAX, LEAVE_SECONDS
from gateway.connection import AnswerLost, Connection, Unreachable
from gateway.frames import PROTOCOL
from gateway.ids import new_id
from gateway.problems import KINDS
from gateway.routes import ROUTES
from tests.gateway.conftest import serve_replica

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def connection(url: str) -> AsyncIterator[Connection]:
    """A client's connection to the node."""
    connection = await Connection.open(url)
    yield connection
    await connection.close()


async def ask(connection: Connection, name: str, **members: object) -> tuple[int, Any]:
    """The status and the value of a call."""
    answer = await connection.call(name, members, timeout_seconds=10)
    return answer.status, answer.value


async def test_a_call_does_and_answers_what_its_route_does(
    connection: Connection, http: aiohttp.ClientSession, queue: str
) -> None:
    body = {"type": "t", "data": {"a": [1, None, 2.5]}, "queue": queue, "id": new_id()}

    status, submitted = await ask(connection, "submit", **body)
    _, read = await ask(connection, "task", id=body["id"])
    async with http.get(f"/tasks/{body['id']}") as answer:
        over_http = await answer.json()

    assert status == 201
    assert submitted == over_http | {"success": True, "task_id": body["id"]}
    assert read == over_http


async def test_path_and_query_members_may_be_plain_numbers(
    connection: Connection, queue: str
) -> None:
    for _ in range(3):
        await ask(connection, "submit", type="t", data=1, queue=queue)

    status, page = await ask(connection, "tasks", queue=queue, limit=2, cursor=None)
    waited, _ = await ask(connection, "task", id=page["tasks"][0]["id"], wait=0.01)

    assert (status, page["count"], waited) == (200, 2, 200)


@pytest.mark.parametrize(
    ("name", "members", "code"),
    [
        ("nothing", {}, "not_found"),
        ("task", {"id": "x"}, "task_unknown"),
        ("task", {}, "invalid"),
        ("task", {"id": 7, "wait": [1]}, "invalid"),
        ("tasks", {"limit": "many"}, "invalid"),
        ("submit", {"type": "t"}, "invalid"),
        ("submit", {"type": "t", "data": 1, "colour": "red"}, "invalid"),
        ("submit", {"type": "t", "data": "x" * (1 << 20)}, "too_large"),
        ("submit", {"type": "t", "data": "x" * (3 << 20)}, "too_large"),
        ("heartbeat", {"id": new_id()}, "worker_unknown"),
    ],
)
async def test_a_wrong_call_is_answered_with_the_problem_that_http_gives(
    connection: Connection, name: str, members: dict[str, object], code: str
) -> None:
    status, problem = await ask(connection, name, **members)

    assert (status, problem["code"]) == (KINDS[code].status, code)
    assert problem["detail"] == problem["error"] != ""


async def test_an_answer_says_which_state_it_shows_and_a_later_read_may_ask_for_it(
    connection: Connection, queue: str
) -> None:
    submitted = await connection.call(
        "submit", {"type": "t", "data": 1, "queue": queue}, timeout_seconds=10
    )
    extras = {"consistency": "stale", "min_index": submitted.index}
    read = await connection.call(
        "task", {"id": submitted.value["id"]}, timeout_seconds=10, extras=extras
    )

    assert read.status == 200
    assert read.index >= submitted.index > 0


async def test_a_trace_goes_with_the_call(connection: Connection, queue: str) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    submitted = await connection.call(
        "submit",
        {"type": "t", "data": 1, "queue": queue},
        timeout_seconds=10,
        extras={"traceparent": trace},
    )

    assert submitted.value["traceparent"] == trace


async def test_a_preference_goes_with_the_call(connection: Connection, queue: str) -> None:
    submitted = await connection.call(
        "submit",
        {"type": "t", "data": 1, "queue": queue},
        timeout_seconds=10,
        extras={"prefer": "return=minimal"},
    )

    assert submitted.value.keys() == {"id", "task_id", "status", "success"}


async def test_what_a_loop_turn_asks_is_committed_in_one_entry(
    connection: Connection, queue: str
) -> None:
    body = {"type": "t", "data": 1, "queue": queue}
    calls = [connection.call("submit", body, timeout_seconds=10) for _ in range(200)]

    answers = await asyncio.gather(*calls)

    assert [answer.status for answer in answers] == [201] * 200
    assert len({answer.index for answer in answers}) == 1
    assert len({answer.value["id"] for answer in answers}) == 200


async def test_large_and_small_calls_go_together(connection: Connection, queue: str) -> None:
    bodies = [
        {"type": "t", "data": "x" * size, "queue": queue} for size in (1, 300_000, 2, 900_000, 3)
    ]

    answers = await asyncio.gather(
        *(connection.call("submit", body, timeout_seconds=10) for body in bodies)
    )

    assert [answer.value["data"] for answer in answers] == [body["data"] for body in bodies]


async def test_an_answer_that_does_not_come_in_time_is_lost_and_harms_no_other(
    connection: Connection, queue: str
) -> None:
    _, task = await ask(connection, "submit", type="t", data=1, queue=queue)

    with pytest.raises(AnswerLost, match=r"'task' in 0\.05 seconds"):
        await connection.call("task", {"id": task["id"], "wait": 60}, timeout_seconds=0.05)

    assert (await ask(connection, "livez"))[0] == 200


async def test_who_waits_no_longer_keeps_no_place_at_the_node(url: str, queue: str) -> None:
    connection = await Connection.open(url)
    body = {"type": "t", "data": 1, "queue": queue}
    task = (await connection.call("submit", body, timeout_seconds=10)).value
    wait = {"id": task["id"], "wait": 60}
    waiting = [
        asyncio.create_task(connection.call("task", wait, timeout_seconds=10))
        for _ in range(CALLS_MAX)
    ]
    full = await asyncio.create_task(connection.call("livez", timeout_seconds=10))

    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    again = await connection.call("task", {"id": task["id"]}, timeout_seconds=10)

    assert full.value["code"] == "overloaded"
    assert again.status == 200
    assert connection.is_idle
    await connection.close()


async def test_what_is_over_may_be_taken_back_too(http: aiohttp.ClientSession) -> None:
    async with http.ws_connect("/connect", protocols=[PROTOCOL]) as socket:
        for number in (1, 2):
            call = ["call", number, "livez", {}]
            await socket.send_bytes(
                msgpack.packb([["cancel", number - 1 or 9], call, ["cancel", 9]])
            )
            (reply,) = msgpack.unpackb((await socket.receive()).data)
            assert reply[:3] == ["reply", number, 200]


async def test_what_was_in_flight_when_the_connection_closed_is_lost(url: str, queue: str) -> None:
    connection = await Connection.open(url)
    _, task = await ask(connection, "submit", type="t", data=1, queue=queue)
    waiting = asyncio.create_task(ask(connection, "task", id=task["id"], wait=60))
    await ask(connection, "livez")  # Asked later and answered: so the other was asked.

    await connection.close()

    with pytest.raises(AnswerLost):
        await waiting
    with pytest.raises(Unreachable):
        await ask(connection, "livez")


async def test_a_body_that_msgpack_cannot_hold_is_the_callers_error(
    connection: Connection,
) -> None:
    with pytest.raises(TypeError):
        await ask(connection, "submit", type="t", data=object())

    assert (await ask(connection, "livez"))[0] == 200


@pytest.mark.parametrize("data", [{1: 2}, float("inf"), {"a": {None: 1}}])
async def test_a_body_that_the_node_does_not_read_harms_no_call_beside_it(
    connection: Connection, queue: str, data: object
) -> None:
    wrong, right = (
        connection.ask("submit", {"type": "t", "data": each, "queue": queue}) for each in (data, 1)
    )

    assert ((await wrong).status, (await wrong).value["code"]) == (400, "undecodable")
    assert (await right).status == 201


async def test_a_body_that_fits_no_message_is_the_callers_error(connection: Connection) -> None:
    with pytest.raises(ValueError, match="'submit' takes"):
        connection.ask("submit", {"type": "t", "data": bytes(17 << 20)})

    assert (await ask(connection, "livez"))[0] == 200


async def test_nobody_listening_is_said_in_time(free_port: int) -> None:
    with pytest.raises(Unreachable, match=str(free_port)):
        await Connection.open(f"http://127.0.0.1:{free_port}")


async def test_a_batch_may_be_larger_than_any_one_task(connection: Connection, queue: str) -> None:
    tasks = [{"type": "t", "data": "x" * 500_000, "queue": queue} for _ in range(10)]

    status, answer = await ask(connection, "submit_batch", tasks=tasks)

    assert (status, answer["count"]) == (201, 10)


async def test_the_page_of_the_protocol_names_every_operation() -> None:
    page = Path(__file__).parents[2] / "docs" / "connect.md"
    named = set(re.findall(r"`(\w+)`", page.read_text()))

    assert not {route.name for route in ROUTES} - named


async def test_a_peer_that_goes_while_the_node_stops_is_no_trouble(
    minority: ReplicaSettings,
) -> None:
    """What it had asked has no answer to wait for: the stop neither waits nor fails."""
    replica = await Replica.start(minority)
    runner = await serve_replica(replica)
    is_leaving = asyncio.Event()
    connection = await Connection.open(
        f"http://127.0.0.1:{runner.addresses[0][1]}", on_pushed=lambda _pushed: is_leaving.set()
    )
    asked = connection.ask("submit", {"type": "t", "data": None})
    await ask(connection, "cluster")  # Calls begin in order: the other waits for a leader now.

    stopping = asyncio.create_task(runner.cleanup())
    await is_leaving.wait()
    await connection.close()
    async with asyncio.timeout(LEAVE_SECONDS / 2):
        await stopping

    with pytest.raises(AnswerLost):
        await asked
    await replica.stop()
