"""The link: one connection at a time, to whichever node serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from gateway.frames import Pushed
from node.actions import Ask
from node.link import PAUSE_SECONDS, Link
from node.testing import MemoryCluster

NOBODY = "http://127.0.0.1:1"
END_SECONDS = 15.0


class Ear:
    """Hears what comes over a link."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def on_open(self, url: str) -> None:
        self.heard.put_nowait(("open", url))

    def on_closed(self) -> None:
        self.heard.put_nowait(("closed",))

    def on_pushed(self, pushed: Pushed) -> None:
        self.heard.put_nowait(("pushed", pushed.kind))

    def on_answer(self, ask: Ask, status: int, value: Mapping[str, Any]) -> None:
        self.heard.put_nowait(("answer", ask.name, status, value.get("code")))

    async def until(self, *expected: Any) -> None:
        """Wait until this was heard."""
        while await self.heard.get() != expected:
            pass


@contextlib.asynccontextmanager
async def linked(*urls: str) -> AsyncIterator[tuple[Link, Ear]]:
    """A link that runs, begins with the first of these URLs, and is listened to."""
    names = (f"w{number}" for number in range(1_000))
    ear = Ear()
    link = next(
        link
        for link in (Link(urls, name=name, listener=ear) for name in names)
        if link.url == urls[0]
    )
    running = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(END_SECONDS):
            yield link, ear
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_node_that_is_not_there_is_passed_over(quorate_cluster: MemoryCluster) -> None:
    async with linked(NOBODY, quorate_cluster.url) as (_link, ear):
        assert await ear.heard.get() == ("open", quorate_cluster.url)


async def test_calls_are_answered_each_its_own(quorate_cluster: MemoryCluster) -> None:
    async with linked(quorate_cluster.url) as (link, ear):
        await ear.heard.get()

        link.ask(Ask("livez", {}))
        link.ask(Ask("task", {"id": "none"}))
        answers = [await ear.heard.get(), await ear.heard.get()]

    assert sorted(answers) == [
        ("answer", "livez", 200, None),
        ("answer", "task", 404, "task_unknown"),
    ]


async def test_a_call_may_be_put_off(quorate_cluster: MemoryCluster) -> None:
    async with linked(quorate_cluster.url) as (link, ear):
        await ear.heard.get()

        link.ask(Ask("task", {"id": "later"}, after_seconds=0.05))
        link.ask(Ask("worker", {"id": "now"}))

        assert (await ear.heard.get())[1] == "worker"
        assert (await ear.heard.get())[1] == "task"


async def test_what_cannot_be_said_is_refused_on_the_spot(quorate_cluster: MemoryCluster) -> None:
    async with linked(quorate_cluster.url) as (link, ear):
        await ear.heard.get()

        link.ask(Ask("submit", {"data": object()}))

        assert await ear.heard.get() == ("answer", "submit", 422, None)


async def test_a_node_that_is_left_is_followed_by_the_next(quorate_cluster: MemoryCluster) -> None:
    async with linked(quorate_cluster.url, NOBODY) as (link, ear):
        await ear.heard.get()

        link.leave(NOBODY, "we are not there")
        link.leave(quorate_cluster.url, "for the sake of it")

        assert await ear.heard.get() == ("closed",)
        assert await ear.heard.get() == ("open", quorate_cluster.url), "there is no other"


async def test_nodes_that_are_all_left_are_tried_anew_at_a_pace(
    quorate_cluster: MemoryCluster,
) -> None:
    url = quorate_cluster.url
    loop = asyncio.get_running_loop()
    async with linked(url, url) as (link, ear):
        began_at = loop.time()
        for _ in range(4):
            await ear.until("open", url)
            link.ask(Ask("livez", {}))
            await ear.until("answer", "livez", 200, None)
            link.leave(url, "it answers well, and not what matters")
        await ear.until("open", url)

        assert loop.time() - began_at >= 2 * PAUSE_SECONDS


async def test_a_call_between_connections_is_nobody_s(quorate_cluster: MemoryCluster) -> None:
    async with linked(quorate_cluster.url) as (link, ear):
        link.ask(Ask("task", {"id": "too early"}))

        assert await ear.heard.get() == ("open", quorate_cluster.url)
        link.ask(Ask("worker", {"id": "now"}))
        assert (await ear.heard.get())[1] == "worker"
