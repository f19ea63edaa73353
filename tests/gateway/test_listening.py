"""Connections below HTTP: what comes too slowly, and what is no HTTP at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway import listening

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT_SECONDS = 10.0
REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Wire:
    """A bare connection to the node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, content: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(content)

    async def answer(self) -> tuple[int, str, dict[str, object]]:
        """The status, the content type and the object of the next answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers["content-type"], json.loads(body)

    async def ended(self) -> bool:
        """Wait until the node hangs up; whether it said nothing more before."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._reader.read() == b""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    """A new connection."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Wire(reader, writer)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST[:-2]])
async def test_headers_that_do_not_come_in_time_end_the_connection(
    url: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(listening, "HEADERS_SECONDS", 0.05)
    async with connected(url) as wire:
        wire.send(sent)

        assert await wire.ended()


async def test_the_headers_of_a_later_request_have_to_come_in_time_too(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HEADERS_SECONDS", 0.05)
    async with connected(url) as wire:
        wire.send(REQUEST)
        assert (await wire.answer())[0] == 200
        wire.send(REQUEST[:10])

        assert await wire.ended()


async def test_a_connection_that_was_answered_may_rest(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HEADERS_SECONDS", 0.05)
    async with connected(url) as resting, connected(url) as silent:
        resting.send(REQUEST)
        assert (await resting.answer())[0] == 200
        await silent.ended()  # It began no earlier, and its time is up.

        resting.send(REQUEST)
        assert (await resting.answer())[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: y" * 50_000 + b"\r\n\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    ],
    ids=["no address", "TLS", "no colon", "long header", "negative length"],
)
async def test_what_is_no_http_is_told_so_in_a_problem(url: str, sent: bytes) -> None:
    async with connected(url) as wire:
        wire.send(sent)
        status, content_type, problem = await wire.answer()

        assert (status, content_type) == (400, "application/problem+json")
        assert (problem["code"], problem["status"]) == ("bad_request", 400)
        assert problem["detail"]
        assert await wire.ended()


@pytest.mark.parametrize("expected", [b"tea", b"\xff", b"100-continue, tea"])
async def test_what_cannot_be_expected_is_told_so(url: str, expected: bytes) -> None:
    async with connected(url) as wire:
        wire.send(REQUEST[:-2] + b"Expect: " + expected + b"\r\n\r\n")

        status, content_type, problem = await wire.answer()

    assert (status, content_type) == (417, "application/problem+json")
    assert problem["code"] == "expectation_failed"
    assert "100-continue" in str(problem["detail"])


async def test_a_line_that_is_too_long_is_not_told_back(url: str) -> None:
    async with connected(url) as wire:
        wire.send(b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")

        status, _content_type, problem = await wire.answer()

    assert status == 400
    assert "too long" in str(problem["detail"])
