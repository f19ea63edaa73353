"""A node that stops, seen from `/connect`: told, answered, closed, in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from cluster.answers import Consistency
from cluster.core.queries import GetWorker
from cluster.replica import Replica
from gateway import app, connect, serving
from gateway.app import create_app, open_app
from gateway.connection import Connection
from gateway.defaults import SubmitDefaults
from gateway.frames import PROTOCOL, Pushed
from gateway.serving import serve
from node.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT_SECONDS = 10.0


@pytest_asyncio.fixture(loop_scope="module")
async def stopping(replica: Replica) -> AsyncIterator[web.AppRunner]:
    """A gateway of the test's own, which it may stop."""
    made = create_app(defaults=SubmitDefaults())
    runner = await serve(made, "127.0.0.1", 0)
    open_app(made, replica)
    yield runner
    await runner.cleanup()


def url_of(runner: web.AppRunner) -> str:
    """Where the gateway answers."""
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_calls_in_flight_are_answered_and_the_peer_is_told_to_go_elsewhere(
    stopping: web.AppRunner, queue: str
) -> None:
    told: asyncio.Queue[Pushed] = asyncio.Queue()
    connection = await Connection.open(url_of(stopping), on_pushed=told.put_nowait)
    body = {"type": "t", "data": 1, "queue": queue}
    task = (await connection.call("submit", body, timeout_seconds=WAIT_SECONDS)).value
    waiting = connection.ask("task", {"id": task["id"], "wait": 60})
    await connection.call("livez", timeout_seconds=WAIT_SECONDS)

    cleaning = asyncio.create_task(stopping.cleanup())
    leaving = await asyncio.wait_for(told.get(), WAIT_SECONDS)
    late = await connection.call("submit", body, timeout_seconds=WAIT_SECONDS)
    await asyncio.wait_for(cleaning, WAIT_SECONDS)

    assert leaving == Pushed("leaving", None)
    assert (await waiting).value["status"] == "pending"
    assert (late.status, late.value["code"]) == (503, "stopping")
    await asyncio.wait_for(connection.closed.wait(), WAIT_SECONDS)
    assert "1001" in connection.close_reason
    await connection.close()


async def test_what_comes_while_the_node_stops_is_sent_elsewhere(
    stopping: web.AppRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By connections that were open before: a proxy's, or a worker's between two polls."""
    monkeypatch.setattr(connect, "LINGER_SECONDS", 60.0)
    leaving = asyncio.Event()
    connection = await Connection.open(url_of(stopping), on_pushed=lambda _told: leaving.set())
    async with aiohttp.ClientSession(url_of(stopping)) as http:
        both = [http.get("/livez"), http.get("/livez")]  # Two connections, kept alive.
        for answer in await asyncio.gather(*(each.__aenter__() for each in both)):
            await answer.read()

        cleaning = asyncio.create_task(stopping.cleanup())
        await asyncio.wait_for(leaving.wait(), WAIT_SECONDS)
        async with http.post("/workers", json={}) as answer:
            refused = await answer.json()
        with pytest.raises(aiohttp.WSServerHandshakeError) as handshake:
            await http.ws_connect("/connect", protocols=[PROTOCOL])
    await connection.close()
    await asyncio.wait_for(cleaning, WAIT_SECONDS)

    assert (answer.status, refused["code"]) == (503, "stopping")
    assert answer.headers["Connection"] == "close"
    assert handshake.value.status == 503


async def test_who_asks_again_hears_that_the_node_stops(
    stopping: web.AppRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the request would meet a connection that was just closed."""
    monkeypatch.setattr(serving, "LINGER_SECONDS", 60.0)
    async with aiohttp.ClientSession(url_of(stopping)) as http:
        async with http.get("/tasks") as before:
            await before.read()
        cleaning = asyncio.create_task(stopping.cleanup())
        stopped, _ = await asyncio.wait([cleaning], timeout=0.3)
        async with http.post("/tasks", json={"type": "t", "data": 1}) as answer:
            refused = await answer.json()
    await asyncio.wait_for(cleaning, WAIT_SECONDS)

    assert not stopped
    assert "Connection" not in before.headers
    assert (answer.status, refused["code"]) == (503, "stopping")
    assert answer.headers["Connection"] == "close"


async def test_a_peer_that_leaves_is_not_waited_for(
    stopping: web.AppRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "LINGER_SECONDS", 60.0)
    leaving = asyncio.Event()
    connection = await Connection.open(url_of(stopping), on_pushed=lambda _told: leaving.set())

    cleaning = asyncio.create_task(stopping.cleanup())
    await asyncio.wait_for(leaving.wait(), WAIT_SECONDS)
    await connection.close()

    await asyncio.wait_for(cleaning, WAIT_SECONDS)


async def test_a_peer_that_takes_nothing_is_not_waited_for(
    stopping: web.AppRunner, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    for name in ("LEAVE_SECONDS", "LINGER_SECONDS", "CLOSE_SECONDS"):
        monkeypatch.setattr(connect, name, 0.1)
    connection = await Connection.open(url_of(stopping))
    body = {"type": "t", "data": "x" * 1_000_000, "queue": queue}
    task = (await connection.call("submit", body, timeout_seconds=WAIT_SECONDS)).value
    socket = connection._socket._response.connection
    assert socket is not None
    assert socket.transport is not None
    socket.transport.pause_reading()
    asked = [connection.ask("task", {"id": task["id"]}) for _ in range(40)]
    door = stopping.app[app._DOOR]

    async def is_stuck() -> bool:
        assert door.service is not None
        peer: Any = next(iter(door.service.peers))
        return bool(peer._outbox._bytes > 1_000_000)

    await wait_until(is_stuck, what="the node to have more than it can send", timeout_seconds=10)

    await asyncio.wait_for(stopping.cleanup(), WAIT_SECONDS)

    await connection.close()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_offers_are_withdrawn_before_the_gateway_is_gone(
    stopping: web.AppRunner, replica: Replica, queue: str
) -> None:
    connection = await Connection.open(url_of(stopping))
    registered = await connection.call("register", {"queues": [queue]}, timeout_seconds=10)
    worker_id = registered.value["worker_id"]
    offer = {"id": worker_id, "epoch": 3, "slots": 1}
    await connection.call("offer", offer, timeout_seconds=WAIT_SECONDS)

    await asyncio.wait_for(stopping.cleanup(), WAIT_SECONDS)

    worker = (await replica.read(GetWorker(worker_id), consistency=Consistency.STALE)).value
    assert worker is not None
    assert worker.epoch == 3 << 1 | 1
    await connection.close()
