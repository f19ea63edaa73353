"""The reader of `/events` among nodes that take its connection and tell nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.errors import NoQuorum
from gateway import event_source
from gateway.event_source import EventSource

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: alive\n\n"
WAIT_SECONDS = 10.0


class Frozen:
    """What is left of a node that is stopped: its kernel takes connections."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.asked = 0
        self.server: asyncio.Server

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say what was on its way, once, and nothing more until the client goes."""
        self.asked += 1
        await reader.readuntil(b"\r\n\r\n")
        if self.asked == 1:
            writer.write(self.said)
        await reader.read()
        writer.close()


@pytest_asyncio.fixture(loop_scope="module", params=[b"", HEAD], ids=["silent", "heard"])
async def frozen(request: pytest.FixtureRequest) -> AsyncIterator[Frozen]:
    """A node that froze before it answered, and one that froze while it told events."""
    node = Frozen(request.param)
    async with await asyncio.start_server(node.take, "127.0.0.1", 0) as node.server:
        yield node


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed early, and yet only when patience has long been at its end."""
    monkeypatch.setattr(event_source, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(event_source, "ANSWER_SECONDS", 0.3)


async def first_of(source: EventSource) -> dict[str, Any]:
    """The first event that is told."""
    async with asyncio.timeout(WAIT_SECONDS):
        async for event in source:
            return event
    raise AssertionError("it ended")


async def test_after_a_silence_that_outlasts_all_patience_another_node_is_asked(
    url: str, frozen: Frozen
) -> None:
    source = EventSource([frozen.url, url], from_oldest=True, patience_seconds=0.1)

    assert (await first_of(source))["position"]
    assert frozen.asked == 1


async def test_patience_begins_when_the_silence_is_noticed(frozen: Frozen) -> None:
    source = EventSource([frozen.url], patience_seconds=0.1)

    with pytest.raises(NoQuorum):
        await first_of(source)

    assert frozen.asked == (2 if frozen.said else 1)


async def test_without_patience_each_is_asked_once(url: str, free_port: int) -> None:
    urls = [f"http://127.0.0.1:{free_port}", url]

    event = await first_of(EventSource(urls, from_oldest=True, patience_seconds=0))

    assert event["position"]
