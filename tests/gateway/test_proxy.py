"""The proxy passes everything on to a node that lives, and repeats only what may be repeated."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import msgpack
import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from gateway import proxy, streaming
from gateway.bodies import BODY_BYTES_MAX
from gateway.connection import Connection
from gateway.ids import new_id
from gateway.proxy import create_proxy
from gateway.repeating import is_repeatable
from gateway.serving import serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def proxied(*urls: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client of a proxy to the nodes at *urls*, asked in that order."""
    runner = await serve(
        create_proxy({f"node{n}": url for n, url in enumerate(urls, start=1)}), "127.0.0.1", 0
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            yield session
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def node_that(serve_one: Serve) -> AsyncIterator[str]:
    """The URL of something that listens as a node does; each connection is *serve_one*'s."""
    open_now: set[asyncio.StreamWriter] = set()

    async def serve_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        with contextlib.suppress(ConnectionError, EOFError, asyncio.CancelledError):
            await serve_one(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve_it, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_now:
            writer.close()
        await server.wait_closed()


async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Live, but end without an answer once something else was asked."""
    while (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /livez"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hold the connection, as a frozen process does."""
    del writer
    while await reader.read(4096):
        pass


async def has_no_quorum(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say of whatever is asked that it did not happen."""
    body = b'{"code": "no_quorum"}'
    head = b"HTTP/1.1 503 Oh\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(head % len(body) + body)


async def serve_plainly(app: web.Application, port: int = 0) -> web.AppRunner:
    """Serve what is no gateway of ours."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def answers(request: web.Request) -> web.Response:
    """Say yes to everything."""
    return web.Response(text=request.path)


async def submitted(http: aiohttp.ClientSession, **fields: object) -> tuple[int, Any]:
    body = {"type": "proxied", "data": 1, "queue": "proxied", **fields}
    async with http.post("/tasks", json=body) as answer:
        return answer.status, await answer.json()


async def test_a_request_and_its_answer_pass_as_they_are(url: str) -> None:
    async with proxied(url) as http:
        body = msgpack.packb({"type": "proxied", "data": b"\x00\xff", "queue": "proxied"})
        headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
        async with http.post("/tasks", data=body, headers=headers) as answer:
            task = msgpack.unpackb(await answer.read())
            assert answer.status == 201
            assert answer.content_type == "application/msgpack"
            assert answer.headers["Location"] == f"/tasks/{task['id']}"
            assert int(answer.headers["Quorate-Applied-Index"]) > 0
        async with http.get("/tasks?queue=proxied&limit=1&type=proxied") as answer:
            assert (await answer.json())["tasks"][0]["id"] == task["id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no-such-path", 404),
        ("PATCH", "/tasks", 405),
        ("GET", "/tasks?limit=many", 422),
        ("GET", "/readyz", 200),
        ("GET", "/cluster", 200),
    ],
)
async def test_a_node_says_what_is_wrong(url: str, method: str, path: str, status: int) -> None:
    async with proxied(url) as http, http.request(method, path) as answer:
        assert answer.status == status


async def test_what_a_client_leaves_out_is_not_made_up(url: str) -> None:
    body = b'{"type": "proxied", "data": 1, "queue": "proxied"}'
    async with (
        proxied(url) as http,
        http.post("/tasks", data=body, skip_auto_headers=["Content-Type"]) as answer,
    ):
        assert answer.status == 201  # Without a Content-Type it is JSON.


async def test_a_body_of_many_tasks_passes(url: str) -> None:
    tasks = [{"type": "proxied", "data": "x" * 4_000, "queue": "proxied"}] * 1_000
    body = io.BytesIO(json.dumps({"tasks": tasks}).encode())
    headers = {"Content-Type": "application/json"}
    async with proxied(url) as http, http.post("/tasks/batch", data=body, headers=headers) as given:
        assert (await given.json())["count"] == len(tasks)


async def test_head_goes_with_get(url: str) -> None:
    async with proxied(url) as http, http.head("/cluster") as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


async def test_a_path_arrives_as_it_was_written(url: str) -> None:
    async with proxied(url) as http, http.get("/queues/a%2Fb%20c") as answer:
        through = await answer.json()
    async with aiohttp.ClientSession(url) as http, http.get("/queues/a%2Fb%20c") as answer:
        assert through == await answer.json()


async def test_a_node_that_is_gone_is_passed_over(url: str, free_port: int) -> None:
    async with proxied(f"http://127.0.0.1:{free_port}", url) as http:
        status, _task = await submitted(http)

    assert status == 201


async def test_a_node_that_is_frozen_is_passed_over(url: str) -> None:
    async with (
        node_that(says_nothing) as frozen,
        proxied(frozen, url) as http,
        http.get("/health") as answer,
    ):
        assert answer.status == 200


async def test_what_did_not_happen_on_one_node_is_asked_of_the_next(url: str) -> None:
    async with node_that(has_no_quorum) as cut_off, proxied(cut_off, url) as http:
        status, _task = await submitted(http)

    assert status == 201


async def test_when_no_node_does_it_the_last_ones_answer_is_passed_on() -> None:
    async with (
        node_that(has_no_quorum) as one,
        node_that(has_no_quorum) as other,
        proxied(one, other) as http,
    ):
        status, problem = await submitted(http)

    assert (status, problem) == (503, {"code": "no_quorum"})


async def test_a_submission_that_a_dying_node_may_have_taken_is_unknown(url: str) -> None:
    async with node_that(dies) as dying, proxied(dying, url) as http:
        status, problem = await submitted(http)

    assert (status, problem["code"]) == (504, "outcome_unknown")


async def test_a_submission_with_an_id_is_repeated_on_another_node(url: str) -> None:
    task_id = new_id()
    async with node_that(dies) as dying, proxied(dying, url) as http:
        status, task = await submitted(http, id=task_id)

    assert (status, task["id"]) == (201, task_id)


async def test_what_one_node_may_have_done_no_other_can_deny(url: str) -> None:
    del url
    async with (
        node_that(dies) as dying,
        node_that(has_no_quorum) as cut_off,
        proxied(dying, cut_off) as http,
    ):
        status, problem = await submitted(http, id=new_id())

    assert (status, problem["code"]) == (504, "outcome_unknown")


async def test_a_purge_that_a_dying_node_may_have_begun_is_not_begun_again(url: str) -> None:
    async with (
        node_that(dies) as dying,
        proxied(dying, url) as http,
        http.delete("/queues/proxied/tasks") as answer,
    ):
        problem = await answer.json()

    assert (answer.status, problem["code"]) == (504, "outcome_unknown")


async def test_a_read_that_a_dying_node_was_asked_for_is_repeated(url: str) -> None:
    async with (
        node_that(dies) as dying,
        proxied(dying, url) as http,
        http.get("/workers") as answer,
    ):
        assert answer.status == 200


async def test_without_any_node_it_lives_and_is_not_ready(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "PATIENCE_SECONDS", 0.2)
    async with proxied(f"http://127.0.0.1:{free_port}") as http:
        async with http.get("/livez") as answer:
            assert answer.status == 200
        async with http.get("/readyz") as answer:
            problem = await answer.json()

    assert (answer.status, problem["code"]) == (503, "no_quorum")
    assert answer.headers["Retry-After"] == "1"


async def test_a_node_that_comes_back_is_asked_again(free_port: int) -> None:
    async with proxied(f"http://127.0.0.1:{free_port}") as http:
        waiting = asyncio.create_task(http.get("/here").__aenter__())
        app = web.Application()
        app.router.add_get("/{path}", answers)
        runner = await serve_plainly(app, free_port)
        answer = await waiting
        answer.release()
        await runner.cleanup()

    assert answer.status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"GET @evil.example/ HTTP/1.1",
        b"GET :80@evil.example/tasks HTTP/1.1",
        b"GET http://evil.example/tasks HTTP/1.1",
        b"GET .evil.example/tasks HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET evil.example/connect HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade",
    ],
)
async def test_no_request_names_another_host_than_the_nodes(url: str, line: bytes) -> None:
    async with proxied(url) as http:
        base = http._base_url
        assert base is not None
        reader, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(line + b"\r\nHost: localhost\r\n\r\n")
        status = await reader.readline()
        writer.close()

    assert status.split()[1] in {b"400", b"404"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "forbidden_host"),
        ({"Origin": "http://evil.example"}, "forbidden_origin"),
    ],
)
async def test_a_page_of_another_site_gets_no_further(
    url: str, headers: dict[str, str], code: str
) -> None:
    async with proxied(url) as http, http.post("/tasks", data=b"{}", headers=headers) as answer:
        problem = await answer.json()

    assert (answer.status, problem["code"]) == (403, code)


async def test_a_write_from_the_proxys_own_page_is_taken(url: str) -> None:
    headers = {"Origin": "http://localhost:9", "Host": "localhost:9"}
    body = {"type": "proxied", "data": 1, "queue": "proxied"}
    async with proxied(url) as http, http.post("/tasks", json=body, headers=headers) as answer:
        assert answer.status == 201


async def test_a_body_beyond_the_limit_is_refused(url: str) -> None:
    body = io.BytesIO(bytes(BODY_BYTES_MAX + 1))
    async with proxied(url) as http, http.post("/tasks", data=body) as answer:
        assert answer.status == 413


async def test_events_stream_through(url: str) -> None:
    async with proxied(url) as http, http.get("/events?queue=proxied") as stream:
        _status, task = await submitted(http)
        async with asyncio.timeout(10):
            async for line in stream.content:
                if task["id"].encode() in line:
                    return
    pytest.fail("the stream ended")


async def test_a_stream_ends_with_its_node(url: str) -> None:
    del url

    async def begins(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /events"):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n")

    async with node_that(begins) as dying, proxied(dying) as http, http.get("/events") as stream:
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.content.read()


async def test_a_reader_that_takes_nothing_holds_no_stream_of_a_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "STALLED_SECONDS", 0.2)
    gone = asyncio.Event()

    async def tells_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /livez"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                await writer.drain()
        finally:
            gone.set()

    async with node_that(tells_on) as node, proxied(node) as http:
        host, port = http._base_url.host, http._base_url.port
        _, stalled = await asyncio.open_connection(host, port, limit=1)
        stalled.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(10):
            await gone.wait()
        stalled.close()


async def test_many_calls_of_one_connection_pass_through(url: str) -> None:
    async with proxied(url) as http:
        connection = await Connection.open(str(http._base_url).rstrip("/"))
        try:
            body = {"type": "proxied", "data": 1, "queue": "proxied"}
            answers = await asyncio.gather(
                *(connection.call("submit", body, timeout_seconds=10) for _ in range(50))
            )
        finally:
            await connection.close()

    assert {answer.status for answer in answers} == {201}


async def test_streams_end_when_the_proxy_stops(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        async with proxied(url) as through:
            base = str(through._base_url).rstrip("/")
            stream = await http.get(f"{base}/events")
            socket = await http.ws_connect(f"{base}/connect", protocols=("quorate.1",))
            ending = asyncio.create_task(socket.receive())
        assert await stream.content.read() == b"" or stream.content.at_eof()
        assert (await ending).data == 1001


async def test_a_client_that_hangs_up_is_gone_for_the_node_too() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def waits(_request: web.Request) -> web.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError("unreachable: nothing sets that event")

    app = web.Application()
    app.router.add_get("/livez", answers)
    app.router.add_post("/workers/x/lease", waits)
    runner = await serve_plainly(app)
    async with proxied(f"http://127.0.0.1:{runner.addresses[0][1]}") as http:
        waiting = asyncio.create_task(http.post("/workers/x/lease").__aenter__())
        await asked.wait()
        waiting.cancel()
        async with asyncio.timeout(10):
            await gone.wait()
    await runner.cleanup()


async def test_what_is_being_answered_still_is_when_the_proxy_stops() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answers_late(_request: web.Request) -> web.Response:
        asked.set()
        await may_answer.wait()
        return web.Response(text="late")

    app = web.Application()
    app.router.add_get("/livez", answers)
    app.router.add_get("/late", answers_late)
    runner = await serve_plainly(app)
    node = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as http, contextlib.AsyncExitStack() as stack:
        through = await stack.enter_async_context(proxied(node))
        base = str(through._base_url).rstrip("/")
        answering = asyncio.create_task(http.get(f"{base}/late").__aenter__())
        await asked.wait()
        stopping = asyncio.create_task(stack.aclose())
        may_answer.set()
        assert await (await answering).text() == "late"
        await stopping
    await runner.cleanup()


async def test_a_connection_ends_with_its_node() -> None:
    async def closes(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("quorate.1",))
        await socket.prepare(request)
        await socket.receive()
        await socket.close(code=1009, message=b"too much")
        return socket

    app = web.Application()
    app.router.add_get("/connect", closes)
    runner = await serve_plainly(app)
    node = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with (
        proxied(node) as http,
        http.ws_connect("/connect", protocols=("quorate.1",)) as socket,
    ):
        assert socket.protocol == "quorate.1"
        await socket.send_bytes(b"hello")
        message = await socket.receive()
    await runner.cleanup()

    assert (message.data, message.extra) == (1009, "too much")


@pytest.mark.parametrize(
    ("method", "path", "body", "is_safe"),
    [
        ("GET", "/tasks", b"", True),
        ("DELETE", "/tasks/x", b"", True),
        ("DELETE", "/tasks/tasks", b"", True),
        ("DELETE", "/workers/x", b"", True),
        ("DELETE", "/queues/x/tasks", b"", False),
        ("DELETE", "/queues/x/y/tasks", b"", False),  # As `x%2Fy` was written.
        ("PUT", "/queues/x", b"{}", True),
        ("POST", "/tasks/x/complete", b"{}", True),
        ("POST", "/workers/x/heartbeat", b"{}", True),
        ("POST", "/tasks", b'{"type": "a"}', False),
        ("POST", "/tasks", b'{"type": "a", "id": "x"}', True),
        ("POST", "/tasks", b'{"type": "a", "idempotency_key": "x"}', True),
        ("POST", "/tasks", b"[]", False),
        ("POST", "/tasks", b"not json", False),
        ("POST", "/tasks/batch", b'{"tasks": [{"id": "x"}, {"id": "y"}]}', True),
        ("POST", "/tasks/batch", b'{"tasks": [{"id": "x"}, {}]}', False),
        ("POST", "/workers", b"{}", False),
        ("POST", "/workers", b'{"id": "x"}', True),
        ("POST", "/tasks/x/retry", b"", False),
        ("POST", "/dlq/retry", b"{}", False),
        ("PATCH", "/tasks/x", b"", False),
    ],
)
async def test_only_what_cannot_happen_twice_is_repeated(
    method: str, path: str, body: bytes, is_safe: bool
) -> None:
    headers = CIMultiDictProxy(CIMultiDict())

    assert is_repeatable(method, path, headers, body) == is_safe


async def test_a_key_in_the_header_makes_a_submission_repeatable() -> None:
    headers = CIMultiDictProxy(CIMultiDict({"idempotency-key": "mine"}))

    assert is_repeatable("POST", "/tasks", headers, b'{"type": "a"}')


@pytest.mark.parametrize(("patience_seconds", "status"), [(-1.0, 503), (60.0, 200)])
async def test_a_no_is_passed_on_once_the_time_is_up(
    url: str, monkeypatch: pytest.MonkeyPatch, patience_seconds: float, status: int
) -> None:
    """Each node may have waited before it said so: three would wait three times as long."""
    monkeypatch.setattr(proxy, "PATIENCE_SECONDS", patience_seconds)
    async with (
        node_that(has_no_quorum) as slow,
        proxied(slow, url) as http,
        http.get("/tasks") as answer,
    ):
        assert answer.status == status
