"""Bodies that are slow, many or large: others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import resource
import threading
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway import bodies
from gateway.aside import aside

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
TASK = b'{"type": "process", "data": 1}'


async def test_a_body_that_trickles_in_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.2)
    async with begun(url, length=1_000) as (reader, writer):
        async with asyncio.timeout(20):
            while not reader.at_eof() and not (answer := await trickled(reader, writer)):
                pass

    assert b" 408 " in answer


async def trickled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The answer's first line, if it came within a moment after one more byte."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.02):
            return await reader.readline()
    writer.write(b" ")
    return b""


@contextlib.asynccontextmanager
async def begun(
    url: str, *, length: int, sent: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A submission that has come in only in part."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    head = f"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode() + sent)
    try:
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()


async def test_large_bodies_wait_for_each_other_and_small_ones_for_none(
    url: str, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "HELD_BYTES_MAX", 300_000)
    large = json.dumps({"type": "a", "data": "x" * 200_000}).encode()
    async with begun(url, length=300_000, sent=b" " * 200_000):
        await answered_at_last(http, large, 429)
        async with http.post("/tasks", data=TASK, headers={"Content-Type": JSON}) as answer:
            assert answer.status == 201

    await answered_at_last(http, large, 201)


async def answered_at_last(http: aiohttp.ClientSession, body: bytes, status: int) -> None:
    """Submit again and again, until the answer is that."""
    async with asyncio.timeout(20):
        while True:
            async with http.post(
                "/tasks", data=io.BytesIO(body), headers={"Content-Type": JSON}
            ) as answer:
                if answer.status == status:
                    return


async def test_what_takes_long_is_done_one_after_the_other() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)  # Gives another thread every chance, if there were one.
        with lock:
            running -= 1

    await asyncio.gather(*(aside(work) for _ in range(20)))

    assert most == 1


async def test_two_thousand_idle_connections_keep_nobody_out(
    url: str, http: aiohttp.ClientSession
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5_000:
        pytest.skip(f"this process may open {hard} files, the test needs 5,000: both ends are here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(2_000):
            await stack.enter_async_context(begun(url, length=9, sent=b"{"))

        async with http.post("/tasks", data=TASK, headers={"Content-Type": JSON}) as answer:
            assert answer.status == 201
