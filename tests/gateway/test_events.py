"""`GET /events`: what happens is told once, in order, from wherever a reader stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cluster import watching
from cluster.core import ring
from cluster.core.commands import Submit
from cluster.core.model import NewTask
from cluster.errors import NoQuorum
from cluster.replica import Replica
from cluster.watching import Watch
from gateway import events, streaming
from gateway.app import create_app, open_app
from gateway.client_errors import EventsGone, InvalidRequest, RequestRefused
from gateway.defaults import SubmitDefaults
from gateway.event_source import Block, Blocks, EventSource
from gateway.ids import new_id
from gateway.readers import Readers
from gateway.serving import serve

START = "1-000000-0-0"  # Before every event, of whichever cluster.

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def submitted(http: aiohttp.ClientSession, queue: str, type_: str = "a") -> str:
    """The id of a new task."""
    async with http.post("/tasks", json={"type": type_, "data": 1, "queue": queue}) as answer:
        assert answer.status == 201
        return str((await answer.json())["id"])


async def first(source: EventSource, count: int) -> list[dict[str, Any]]:
    """The first events of a source, which is left then."""
    told: list[dict[str, Any]] = []
    if count:
        async with asyncio.timeout(20):
            async for event in source:
                told.append(event)
                if len(told) == count:
                    break
    return told


class Raw:
    """A stream as it is on the wire."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self._blocks = Blocks()
        self._whole: list[Block] = []

    async def block(self) -> Block:
        """The next block."""
        while not self._whole:
            content = await self.answer.content.readany()
            assert content, "the stream has ended"
            self._whole += self._blocks.feed(content)
        return self._whole.pop(0)


@asynccontextmanager
async def opened(
    http: aiohttp.ClientSession, headers: dict[str, str] | None = None, **query: str
) -> AsyncIterator[Raw]:
    """A stream that has begun."""
    async with asyncio.timeout(20), http.get("/events", params=query, headers=headers) as answer:
        yield Raw(answer)


async def refused(
    http: aiohttp.ClientSession, headers: dict[str, str] | None = None, **query: str
) -> dict[str, Any]:
    """The problem that is answered instead of a stream."""
    async with asyncio.timeout(20), http.get("/events", params=query, headers=headers) as answer:
        problem: dict[str, Any] = await answer.json(content_type=None)
        assert answer.status == problem["status"]
        return problem


def told_by(event: asyncio.Event, method: Callable[..., None]) -> Callable[..., None]:
    """*method*, which sets the event as well."""

    def called(*arguments: object) -> None:
        method(*arguments)
        event.set()

    return called


async def test_a_reader_without_a_position_is_told_what_happens_from_now_on(
    http: aiohttp.ClientSession, queue: str
) -> None:
    await submitted(http, queue)
    async with opened(http, queue=queue) as stream:
        await stream.block()  # Where it begins.
        task_id = await submitted(http, queue)
        block = await stream.block()

    told = json.loads(block.data)
    assert stream.answer.content_type == "text/event-stream"
    assert (block.event, block.id) == ("submitted", told["position"])
    assert (told["task_id"], told["queue"], told["status"]) == (task_id, queue, "pending")


async def test_an_event_has_the_members_that_the_api_names(
    http: aiohttp.ClientSession, url: str, queue: str
) -> None:
    task_id = await submitted(http, queue)

    (told,) = await first(EventSource([url], from_oldest=True, task=task_id), 1)

    assert list(told) == [
        *("position", "index", "term", "time", "kind", "task_id", "queue", "status"),
        *("worker_id", "lease_token", "attempt", "error", "node"),
    ]
    async with http.get("/cluster") as answer:
        cluster = await answer.json()
    assert told["index"] <= cluster["applied_index"]
    assert told["term"] == cluster["term"]
    assert 0 <= told["time"] <= cluster["cluster_time"]


async def test_a_reader_goes_on_after_the_position_that_it_names(
    http: aiohttp.ClientSession, url: str, queue: str
) -> None:
    task_ids = [await submitted(http, queue) for _ in range(4)]
    one, two = await first(EventSource([url], from_oldest=True, queue=queue), 2)

    source = EventSource([url], after=two["position"], queue=queue)
    rest = await first(source, 2)

    assert [event["task_id"] for event in (one, two, *rest)] == task_ids


async def test_the_header_wins_over_what_the_address_says(
    http: aiohttp.ClientSession, url: str, queue: str
) -> None:
    first_id, second_id = [await submitted(http, queue) for _ in range(2)]
    (one,) = await first(EventSource([url], from_oldest=True, queue=queue), 1)
    seen = {"Last-Event-ID": one["position"]}
    start = {"from": "start", "queue": queue}

    async with opened(http, **start) as stream:
        await stream.block()
        assert json.loads((await stream.block()).data)["task_id"] == first_id
    async with opened(http, last_event_id=one["position"], **start) as stream:
        await stream.block()
        assert json.loads((await stream.block()).data)["task_id"] == second_id
    async with opened(http, seen, last_event_id=START, **start) as stream:
        await stream.block()
        assert json.loads((await stream.block()).data)["task_id"] == second_id


async def test_a_stream_begins_with_its_place_so_that_nothing_is_missed_before_its_first_event(
    http: aiohttp.ClientSession, queue: str
) -> None:
    async with opened(http, queue=queue) as stream:
        begun = await stream.block()
    task_id = await submitted(http, queue)
    assert begun.id is not None

    async with opened(http, {"Last-Event-ID": begun.id}, queue=queue) as stream:
        await stream.block()
        assert json.loads((await stream.block()).data)["task_id"] == task_id


async def test_a_reader_is_told_only_what_passes_every_filter(
    http: aiohttp.ClientSession, url: str, queue: str
) -> None:
    async with http.post("/workers", json={"queues": [queue], "slots": 1}) as answer:
        worker_id = (await answer.json())["worker_id"]
    task_id, other_id = [await submitted(http, queue) for _ in range(2)]
    for _ in range(2):
        async with http.post(f"/workers/{worker_id}/lease", json={"max": 1}) as answer:
            (lease,) = (await answer.json())["tasks"]
        path = f"/tasks/{lease['id']}/complete"
        async with http.post(path, json={"lease_token": lease["lease_token"]}) as answer:
            assert answer.status == 200

    async def kinds(count: int, **filters: str) -> list[tuple[str, str | None]]:
        source = EventSource([url], from_oldest=True, **filters)
        return [(event["kind"], event["task_id"]) for event in await first(source, count)]

    assert await kinds(3, task=task_id) == [
        ("submitted", task_id),
        ("leased", task_id),
        ("completed", task_id),
    ]
    assert await kinds(5, worker=worker_id) == [
        ("worker_joined", None),
        ("leased", task_id),
        ("completed", task_id),
        ("leased", other_id),
        ("completed", other_id),
    ]
    assert await kinds(3, kind="submitted,completed", queue=queue) == [
        ("submitted", task_id),
        ("submitted", other_id),
        ("completed", task_id),
    ]
    assert await kinds(1, kind="completed", task=other_id, worker=worker_id, queue=queue) == [
        ("completed", other_id)
    ]


async def test_what_is_left_out_moves_the_position_on_all_the_same(
    http: aiohttp.ClientSession, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    async with opened(http, queue=queue) as stream:
        begun = await stream.block()
        await submitted(http, f"{queue}-other")
        block = await stream.block()
        while block.id == begun.id:
            block = await stream.block()

    assert (block.event, block.data) == ("", "")


async def test_a_reader_that_leaves_out_all_that_happens_hears_that_the_node_lives(
    http: aiohttp.ClientSession, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.3)

    async def keep_busy() -> None:
        while True:
            await submitted(http, f"{queue}-other")

    busy = asyncio.create_task(keep_busy())
    async with opened(http, queue=queue) as stream:
        blocks = [await stream.block() for _ in range(3)]
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)

    assert [block.data for block in blocks] == ["", "", ""]
    assert len({block.id for block in blocks}) == 3


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"queue": "no queue!"}, "queue"),
        ({"task": "x"}, "task"),
        ({"worker": "x"}, "worker"),
        ({"kind": "submitted,exploded"}, "kind"),
        ({"from": "yesterday"}, "from"),
        ({"last_event_id": "7.0"}, "last_event_id"),
        ({"last_event_id": "2-000000-7-0"}, "last_event_id"),
        ({"priorty": "9"}, "priorty"),
    ],
)
async def test_a_wrong_filter_is_named(
    http: aiohttp.ClientSession, query: dict[str, str], field: str
) -> None:
    problem = await refused(http, **query)

    assert (problem["status"], problem["code"]) == (422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_wrong_position_is_named(http: aiohttp.ClientSession, url: str) -> None:
    problem = await refused(http, {"Last-Event-ID": "1-7"})
    assert [error["field"] for error in problem["errors"]] == ["Last-Event-ID"]

    with pytest.raises(InvalidRequest, match=r"^after: ") as refused_:
        await first(EventSource([url], after="nowhere"), 1)
    assert [error["field"] for error in refused_.value.errors] == ["after"]


async def test_what_is_no_longer_kept_is_gone_and_the_oldest_is_named(
    http: aiohttp.ClientSession, url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "EVENTS_MAX", 2)
    monkeypatch.setattr(watching, "KEPT_EVENTS_MAX", 2)
    task_ids = [await submitted(http, queue) for _ in range(4)]

    problem = await refused(http, {"Last-Event-ID": START})
    with pytest.raises(EventsGone) as gone:
        await first(EventSource([url], after=START), 1)

    assert (problem["status"], problem["code"]) == (410, "events_gone")
    assert gone.value.oldest == problem["oldest"]
    kept = await first(EventSource([url], after=problem["oldest"]), 2)
    assert [event["task_id"] for event in kept] == task_ids[2:]
    assert kept == await first(EventSource([url], from_oldest=True), 2)


async def test_a_position_of_another_cluster_is_gone_and_the_oldest_is_named(
    http: aiohttp.ClientSession, url: str, queue: str
) -> None:
    task_id = await submitted(http, queue)
    (event,) = await first(EventSource([url], from_oldest=True, queue=queue), 1)
    version, _, *place = event["position"].split("-")
    another = "-".join((version, "000000", *place))

    problem = await refused(http, {"Last-Event-ID": another})

    assert (problem["status"], problem["code"]) == (410, "events_gone")
    assert "another cluster" in problem["detail"]
    (again,) = await first(EventSource([url], after=problem["oldest"], task=task_id), 1)
    assert again == event


async def test_a_reader_that_is_too_slow_is_told_where_it_lost_the_thread(
    http: aiohttp.ClientSession, replica: Replica, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "EVENTS_MAX", 1)
    monkeypatch.setattr(watching, "KEPT_EVENTS_MAX", 1)
    new = [NewTask.of(new_id(), "a", b"1", "application/json", queue=queue) for _ in range(4)]
    async with opened(http, queue=queue) as stream:
        await stream.block()
        await replica.propose(Submit(tuple(new)))  # One entry, more than there is room for.
        block = await stream.block()
        ended = await stream.answer.content.readany()

    assert block.event == "lost"
    assert json.loads(block.data)["code"] == "events_gone"
    assert ended == b""


def read_to_the_end(connection: socket.socket) -> bytes:
    """What was on its way when the other end hung up."""
    pieces = [b""]
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


async def test_a_reader_that_takes_nothing_is_hung_up_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STALLED_SECONDS", 0.2)
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.0)
    monkeypatch.setattr(events, "position_frame", lambda *_place: b"x" * (1 << 20))
    ended = asyncio.Event()
    monkeypatch.setattr(Watch, "close", told_by(ended, Watch.close))
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as stalled:
        request = f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        await asyncio.get_running_loop().run_in_executor(None, stalled.sendall, request.encode())

        async with asyncio.timeout(20):
            await ended.wait()
        told = await asyncio.to_thread(read_to_the_end, stalled)

    assert told.count(b"HTTP/1.1 ") == 1, "nothing waits for it to be told why"


async def test_readers_beyond_the_limit_are_sent_to_another_node(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "READERS_MAX", 1)
    async with opened(http) as stream:
        await stream.block()
        problem = await refused(http)

    assert (problem["status"], problem["code"]) == (429, "overloaded")


async def test_stopping_ends_the_streams(replica: Replica) -> None:
    app = create_app(defaults=SubmitDefaults())
    runner = await serve(app, "127.0.0.1", 0)
    open_app(app, replica)
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as http,
        opened(http) as stream,
    ):
        await stream.block()
        await runner.cleanup()

        assert await stream.answer.content.readany() == b""


async def test_a_reader_that_comes_while_the_node_stops_is_told_nothing(replica: Replica) -> None:
    readers = Readers()
    readers.close()

    with readers.reading(replica.watch()) as watch:
        assert [event async for event in watch] == []


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/event-stream", 200), ("text/*;q=0.5", 200), ("*/*", 200), ("application/json", 406)],
)
async def test_a_client_that_does_not_read_streams_is_given_none(
    http: aiohttp.ClientSession, accept: str, status: int
) -> None:
    async with http.head("/events", headers={"Accept": accept}) as answer:
        assert answer.status == status


async def test_blocks_are_the_same_however_they_are_cut() -> None:
    stream = 'retry: 1\nid: 1-0-0\n\n: alive\nid: 1-1-0\r\n\r\nid: 2\nevent: a\ndata: "é"\n\n'
    whole = list(Blocks().feed(stream.encode()))
    blocks = Blocks()
    parts = [block for byte in stream.encode() for block in blocks.feed(bytes([byte]))]

    assert whole == [Block("1-0-0", "", ""), Block("1-1-0", "", ""), Block("2", "a", '"é"')]
    assert parts == whole


async def test_what_is_no_node_is_an_error_and_no_trace() -> None:
    app = web.Application()  # It has no /events, and says so in a page of its own.
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    with pytest.raises(RequestRefused, match="HTTP 404"):
        await first(EventSource([f"http://127.0.0.1:{runner.addresses[0][1]}"]), 1)
    await runner.cleanup()


async def test_no_node_that_answers_is_said_after_patience(free_port: int) -> None:
    urls = [f"http://127.0.0.1:{free_port}"]

    with pytest.raises(NoQuorum, match=f"{urls[0]}: connection refused$"):
        await first(EventSource(urls, patience_seconds=0.1), 1)
