"""Recording clients against a real node: each answer, and each silence, is the row it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from chaos.checkers.evidence import Evidence
from chaos.checkers.linearizable import linearizable
from chaos.checkers.tasks import monotonic
from chaos.checkers.verdicts import Status
from chaos.history import Recorder, Type
from chaos.recording import UNREACHED, Process, RecordingClient
from gateway.ids import new_id
from node.ports import free_ports
from node.testing import MemoryCluster


@pytest_asyncio.fixture
async def recorder() -> Recorder:
    """An empty history."""
    return Recorder()


@pytest_asyncio.fixture
async def client(
    recorder: Recorder, quorate_cluster: MemoryCluster
) -> AsyncIterator[RecordingClient]:
    """A client that knows a real node, and an address where nobody listens."""
    nowhere = f"http://127.0.0.1:{next(free_ports('127.0.0.1', 20_000))}"
    async with aiohttp.ClientSession() as session:
        yield RecordingClient(recorder, {"here": quorate_cluster.url, "nowhere": nowhere}, session)


def submission() -> dict[str, object]:
    return {"id": new_id(), "type": "noop", "data": None}


async def test_what_was_answered_is_ok_and_carries_its_index(client: RecordingClient) -> None:
    asked = submission()

    row = await client.ask(Process("a"), "submit", asked, node="here")

    assert (row.type, row.value["id"], row.value["duplicate"]) == (Type.OK, asked["id"], False)
    assert row.index > 0
    assert row.invoked <= row.returned


async def test_a_refusal_certainly_did_not_happen(client: RecordingClient) -> None:
    row = await client.ask(Process("a"), "cancel", {"id": new_id()}, node="here")

    assert (row.type, row.value) == (Type.FAIL, "task_unknown")


async def test_a_task_that_is_not_there_is_an_answer(client: RecordingClient) -> None:
    row = await client.ask(Process("a"), "task", {"id": new_id()}, node="here")

    assert (row.type, row.value) == (Type.OK, {"status": None})


async def test_a_node_that_is_not_there_certainly_heard_nothing(client: RecordingClient) -> None:
    process = Process("a")

    row = await client.ask(process, "submit", submission(), node="nowhere")

    assert (row.type, row.value, process.name) == (Type.FAIL, UNREACHED, "a")


async def test_a_write_that_is_not_answered_may_have_happened(recorder: Recorder) -> None:
    """Whoever hangs up after the request came was heard, perhaps; the process retires."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    process = Process("a", index=7)
    async with server, aiohttp.ClientSession() as session:
        client = RecordingClient(recorder, {"deaf": url}, session)
        write = await client.ask(process, "submit", submission(), node="deaf")
        read = await client.ask(process, "task", {"id": new_id()}, node="deaf")

    assert (write.type, read.type) == (Type.INFO, Type.FAIL)
    assert (process.name, process.index) == ("a#1", 0)


async def test_a_recorded_life_of_a_task_is_linearizable(
    client: RecordingClient, recorder: Recorder
) -> None:
    process, asked = Process("a"), submission()
    task_id = asked["id"]

    await client.ask(process, "submit", asked, node="here")
    await client.ask(process, "submit", asked, node="here")
    await client.ask(process, "task", {"id": task_id}, node="here")
    await client.ask(process, "cancel", {"id": task_id}, node="here")
    await client.ask(process, "task", {"id": task_id}, node="here")
    await client.ask(process, "retry", {"id": task_id}, node="here")
    last = await client.ask(process, "task", {"id": task_id}, node="here")

    evidence = Evidence(rows=recorder.history())
    assert last.value["status"] == "pending"
    assert linearizable(evidence).status is Status.HELD
    assert monotonic(evidence).status is Status.HELD
