"""The event stream on real processes: whichever node dies, a reader misses and repeats nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from gateway.event_source import EventSource
from node.local import LocalCluster

TASKS = 200
KILLED_AFTER = 150  # Events.


async def test_a_reader_goes_on_on_another_node_without_a_gap_or_a_repeat(
    start_cluster: Callable[..., Awaitable[LocalCluster]],
) -> None:
    cluster = await start_cluster(nodes=3, workers=2, lease_seconds=6.0)
    read, second, third = cluster.urls
    source = EventSource([read, second])
    told: list[dict[str, Any]] = []
    begun = asyncio.Event()

    async def follow() -> None:
        async for event in source:
            told.append(event)
            begun.set()
            if len(told) == KILLED_AFTER:
                await cluster.kill("node1")
            if len(of_kind(told, "completed")) == TASKS:
                return

    async with asyncio.timeout(90):
        async with asyncio.TaskGroup() as group:
            following = group.create_task(follow())
            group.create_task(join_until(begun, third))  # It may not have begun to read yet.
            await begun.wait()
            await submit(third, TASKS)
            await following

    kept = await record(third, until=told[-1]["position"])
    assert not cluster.children["node1"].is_running
    assert told == kept[kept.index(told[0]) :]
    assert len({event["position"] for event in told}) == len(told)


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those events of *events* that have this kind and are from the queue of the workers."""
    return [event for event in events if event["kind"] == kind and event["queue"] == "default"]


async def join_until(begun: asyncio.Event, url: str) -> None:
    """Register workers of another queue, which is told but runs nothing, until one was told."""
    async with aiohttp.ClientSession(url) as http:
        while not begun.is_set():
            body = {"queues": ["elsewhere"], "slots": 1}
            async with http.post("/workers", json=body) as answer:
                assert answer.status == 201


async def submit(url: str, count: int) -> None:
    """Submit so many tasks, each again with the same id until it is answered with yes."""
    async with aiohttp.ClientSession(url) as http:
        for number in range(count):
            body = {"id": f"00000000-0000-7000-8000-{number:012}", "type": "echo", "data": number}
            while True:
                async with http.post("/tasks", json=body) as answer:
                    if answer.status in (200, 201):
                        break


async def record(url: str, *, until: str) -> list[dict[str, Any]]:
    """What a node has kept of the events, as far as the one at that position."""
    events: list[dict[str, Any]] = []
    async for event in EventSource([url], from_oldest=True):
        events.append(event)
        if event["position"] == until:
            break
    return events
