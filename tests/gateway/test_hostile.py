"""Hostile input: whatever comes in, a problem goes out, and the node goes on."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgpack
import pytest
import pytest_asyncio
from yarl import URL

from gateway import bodies
from gateway.fields import Field
from gateway.ids import new_id
from gateway.problems import ERRORS_MAX, KINDS
from gateway.routes import ROUTES
from gateway.routing import Route

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
MSGPACK = "application/msgpack"
TASK = b'{"type": "process", "data": 1}'


@pytest_asyncio.fixture(loop_scope="module")
async def healthy(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[None]:
    """Nothing here may be logged as an error, and the node must be well afterwards."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    async with http.get("/livez") as answer:
        assert answer.status == 200


async def problem_of(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    """An answer's status and code, when it is a whole problem."""
    assert answer.content_type == "application/problem+json"
    problem = await answer.json(content_type=None)
    assert problem["status"] == answer.status == KINDS[problem["code"]].status
    assert problem["title"]
    assert problem["error"] == problem["detail"] != ""
    return answer.status, problem["code"]


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (JSON, b"", (400, "undecodable")),
        (JSON, b"not json", (400, "undecodable")),
        (JSON, b"\xff\xfe\x00", (400, "undecodable")),
        (JSON, b"[" * 100_000, (400, "undecodable")),
        (JSON, b'{"type": "a", "data": ' + b"[" * 64 + b"]" * 64 + b"}", (400, "undecodable")),
        (JSON, b'{"type": "a", "type": "b", "data": 1}', (400, "undecodable")),
        (JSON, b'{"type": "a", "data": NaN}', (400, "undecodable")),
        (JSON, b'{"type": "a", "data": "\\ud800"}', (400, "undecodable")),
        (JSON, b'{"type": "\\udc00", "data": 1}', (400, "undecodable")),
        (JSON, b'{"type": "a", "data": 99999999999999999999}', (400, "undecodable")),
        (JSON, b'{"type": "a", "data": ' + b"9" * 100_000 + b"}", (400, "undecodable")),
        (JSON, b'"' + b"x" * 200_000, (400, "undecodable")),
        (JSON, b"null", (422, "invalid")),
        (JSON, b"[]", (422, "invalid")),
        (JSON, b"0", (422, "invalid")),
        (JSON, b'{"$bytes": "aGk="}', (422, "invalid")),
        (JSON, b"{}", (422, "invalid")),
        (JSON, b'{"__proto__": {}, "type": "a", "data": 1}', (422, "invalid")),
        (JSON, b'{"": 1, "type": "a", "data": 1}', (422, "invalid")),
        (JSON, b'{"type": "a", "data": "' + b"x" * 1_048_576 + b'"}', (413, "too_large")),
        (JSON, b'{"type": "a", "data": [' + b"0," * 600_000 + b"0]}", (413, "too_large")),
        (JSON, b" " * (bodies.BODY_BYTES_MAX + 1), (413, "too_large")),
        (JSON, b'{"type": "a", "data": [' + b"[]," * 5_000_000 + b"0]}", (413, "too_large")),
        (MSGPACK, b"\x91" * 5_000_000, (413, "too_large")),
        (MSGPACK, b"", (400, "undecodable")),
        (MSGPACK, b"\xc1", (400, "undecodable")),
        (MSGPACK, b"\x91" * 5_000, (400, "undecodable")),
        (MSGPACK, b"\xdf\xff\xff\xff\xff", (400, "undecodable")),
        (MSGPACK, b"\x81\x01\x01", (400, "undecodable")),
        (MSGPACK, msgpack.packb({"type": "a", "data": float("nan")}), (400, "undecodable")),
        (MSGPACK, msgpack.packb({"type": b"a", "data": 1}), (422, "invalid")),
        (MSGPACK, TASK, (400, "undecodable")),
        ("text/plain", TASK, (415, "unsupported_media_type")),
        ("application/x-www-form-urlencoded", TASK, (415, "unsupported_media_type")),
        ("application/json; charset=utf-16", TASK, (415, "unsupported_media_type")),
        ("json", TASK, (415, "unsupported_media_type")),
        (";;;", TASK, (415, "unsupported_media_type")),
        ("multipart/form-data", TASK, (415, "unsupported_media_type")),
    ],
)
@pytest.mark.usefixtures("healthy")
async def test_a_bad_body_is_a_problem(
    http: aiohttp.ClientSession, content_type: str, body: bytes, expected: tuple[int, str]
) -> None:
    headers = {"Content-Type": content_type}
    async with http.post("/tasks", data=io.BytesIO(body), headers=headers) as answer:
        assert await problem_of(answer) == expected


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
async def test_a_content_type_is_read_as_the_rfc_writes_it(
    http: aiohttp.ClientSession, content_type: str
) -> None:
    async with http.post("/tasks", data=TASK, headers={"Content-Type": content_type}) as answer:
        assert answer.status == 201


@pytest.mark.usefixtures("healthy")
async def test_a_body_without_an_end_is_cut_off(http: aiohttp.ClientSession) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b" " * 65_536

    async with http.post("/tasks", data=endless(), headers={"Content-Type": JSON}) as answer:
        assert await problem_of(answer) == (413, "too_large")


@pytest.mark.usefixtures("healthy")
async def test_a_compressed_body_is_not_unfolded(http: aiohttp.ClientSession) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": JSON}
    async with http.post("/tasks", data=b"\x1f\x8b rest", headers=headers) as answer:
        assert await problem_of(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("accept", "served"),
    [
        ("*/*", JSON),
        ("", JSON),
        ("application/*", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("application/msgpack", MSGPACK),
        ("application/json;q=0.5, application/msgpack", MSGPACK),
        ("application/msgpack;q=0, */*", JSON),
        ("application/json; q=0.1 , application/msgpack ; q=0.9", MSGPACK),
    ],
)
async def test_the_answer_is_in_the_format_that_weighs_most(
    http: aiohttp.ClientSession, accept: str, served: str
) -> None:
    async with http.get("/tasks", headers={"Accept": accept}) as answer:
        assert answer.content_type == served


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "*/*;q=0", "x", ";q=,", "application/json;q=x"]
)
@pytest.mark.usefixtures("healthy")
async def test_a_write_that_could_not_be_answered_is_not_made(
    http: aiohttp.ClientSession, accept: str
) -> None:
    task_id = new_id()
    body = {"type": "a", "data": 1, "id": task_id}
    async with http.post("/tasks", json=body, headers={"Accept": accept}) as answer:
        assert await problem_of(answer) == (406, "not_acceptable")
    async with http.get(f"/tasks/{task_id}") as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not_found")),
        ("GET", "/tasks/", (404, "not_found")),
        ("GET", "//tasks", (404, "not_found")),
        ("GET", "/tasks/%2e%2e/workers/x/y", (404, "not_found")),
        ("PUT", "/tasks", (405, "method_not_allowed")),
        ("PATCH", "/tasks/x", (405, "method_not_allowed")),
        ("PROPFIND", "/health", (405, "method_not_allowed")),
        ("POST", "/health", (405, "method_not_allowed")),
        ("GET", "/tasks?limit=x", (422, "invalid")),
        ("GET", "/tasks?nope=1", (422, "invalid")),
        ("GET", "/tasks?limit=1&limit=2", (422, "invalid")),
        ("GET", "/tasks?status=%ff%fe", (422, "invalid")),
        ("GET", "/tasks?%00=%00", (422, "invalid")),
        ("GET", "/workers?limit=0", (422, "invalid")),
        ("GET", "/workers?cursor=t1", (422, "invalid")),
        ("GET", "/queues?cursor=t1", (422, "invalid")),
        ("GET", "/queues?cursor=q..", (422, "invalid")),
        ("GET", "/dlq/failed-tasks?cursor=q1", (422, "invalid")),
        ("GET", "/dlq/failed-tasks?limit=1e3", (422, "invalid")),
        ("GET", "/queues/%00", (422, "invalid")),
        ("GET", "/queues/..%2fx", (422, "invalid")),
        ("PUT", "/queues/x", (405, "method_not_allowed")),
        ("GET", "/operations/x", (404, "operation_unknown")),
        ("GET", "/tasks/batch", (405, "method_not_allowed")),
        ("GET", "/tasks/%ff/events", (404, "task_unknown")),
        ("DELETE", "/queues/x/tasks?all=1", (422, "invalid")),
        ("POST", "/tasks?queue=x", (422, "invalid")),
        ("GET", f"/tasks/{'0' * 8}-0000-0000-0000-{'0' * 12}?wait=nan", (422, "invalid")),
    ],
)
@pytest.mark.usefixtures("healthy")
async def test_a_bad_address_is_a_problem(
    url: str, http: aiohttp.ClientSession, method: str, path: str, expected: tuple[int, str]
) -> None:
    async with http.request(method, URL(url + path, encoded=True)) as answer:
        assert await problem_of(answer) == expected


async def test_a_wrong_method_is_told_the_right_ones(http: aiohttp.ClientSession) -> None:
    async with http.patch("/tasks") as answer:
        assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize(
    "body", [b"\x00", b"[]", b'{"unknown": 1}', b"[" * 500], ids=["nul", "list", "field", "deep"]
)
@pytest.mark.usefixtures("healthy")
async def test_no_route_fails_on_a_body_that_it_does_not_want(
    http: aiohttp.ClientSession, route: Route, body: bytes
) -> None:
    path = route.path.replace("{id}", new_id())
    async with http.request(route.method, path, data=body) as answer:
        assert answer.status < 500


@pytest.mark.parametrize(
    ("route", "field"),
    [
        (route, field)
        for route in ROUTES
        if route.told.body
        for field in route.told.body.fields
        if field.check.schema  # Else it may be anything.
    ],
    ids=lambda each: each.name,
)
@pytest.mark.usefixtures("healthy")
async def test_a_wrong_type_is_told_of_its_field(
    http: aiohttp.ClientSession, route: Route, field: Field[Any]
) -> None:
    path = route.path.replace("{id}", new_id()).replace("{name}", "q")
    async with http.request(route.method, path, json={field.name: {"x": [[]]}}) as answer:
        problem = await answer.json(content_type=None)

    assert (answer.status, problem["code"]) == (422, "invalid")
    assert any(error["field"].startswith(field.name) for error in problem["errors"])


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.method != "GET"],
    ids=lambda route: route.name,
)
@pytest.mark.usefixtures("healthy")
async def test_a_write_takes_nothing_from_its_address(
    http: aiohttp.ClientSession, route: Route
) -> None:
    path = route.path.replace("{id}", new_id()).replace("{name}", "q")
    async with http.request(route.method, f"{path}?nope=1", data=b"") as answer:
        problem = await answer.json(content_type=None)

    assert (answer.status, problem["errors"][0]["field"]) == (422, "nope")


@pytest.mark.usefixtures("healthy")
async def test_a_hundred_thousand_mistakes_are_told_of_the_first(
    http: aiohttp.ClientSession,
) -> None:
    body = json.dumps({str(n): 1 for n in range(100_000)}).encode()
    async with http.post("/tasks", data=io.BytesIO(body), headers={"Content-Type": JSON}) as answer:
        problem = await answer.json(content_type=None)

    assert (answer.status, len(problem["errors"])) == (422, ERRORS_MAX)
    assert problem["detail"].endswith(f"(and {ERRORS_MAX - 1} more)"), "others are not looked for"


async def test_a_form_is_told_what_to_send_instead(http: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # As curl -d does.
    async with http.post("/tasks", data=TASK, headers=headers) as answer:
        problem = await answer.json(content_type=None)

    assert answer.status == 415
    assert problem["detail"].endswith("; send the header Content-Type: application/json")
    assert answer.headers["Accept"] == "application/json, application/msgpack"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /tasks HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"GET /tasks?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        (
            b"POST /tasks HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
        ),
        b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=range(11),
)
@pytest.mark.usefixtures("healthy")
async def test_what_is_not_http_harms_nobody(url: str, request_bytes: bytes) -> None:
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes)
    writer.write_eof()

    answer = await reader.read()
    writer.close()

    assert not answer or answer.startswith(b"HTTP/1."), answer[:100]
    assert b" 500 " not in answer.partition(b"\r\n")[0]


async def test_a_slow_body_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SILENCE_SECONDS", 0.01)
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")

    answer = await reader.readline()
    writer.close()

    assert b" 408 " in answer


@pytest.mark.usefixtures("healthy")
async def test_a_body_that_is_wrong_as_a_whole_is_told_so(http: aiohttp.ClientSession) -> None:
    async with http.post("/tasks", data=b"[]", headers={"Content-Type": JSON}) as answer:
        problem = await answer.json(content_type=None)

    assert problem["detail"] == "the body must be an object"
