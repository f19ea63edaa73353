"""Heartbeats from a thread of their own, to a real node and past one that is not there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.replica import PROPOSE_TIMEOUT_SECONDS
from cluster.settings import ReplicaSettings
from gateway import BlockingClient, connect
from gateway.client import Client
from node.pulse import Beat, Pulse
from node.testing import MemoryCluster

NOBODY = "http://127.0.0.1:1"
INTERVAL_SECONDS = 0.05
END_SECONDS = 15.0


class Ear:
    """Holds one lease that the cluster never gave, and hears what heartbeats bring."""

    tokens = (41,)

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def on_orders(self, worker_id: str, orders: Mapping[str, Any]) -> None:
        self.heard.put_nowait(("orders", worker_id, tuple(orders["lost"])))

    def on_session_over(self, worker_id: str) -> None:
        self.heard.put_nowait(("over", worker_id))

    def on_silence(self, url: str) -> None:
        self.heard.put_nowait(("silence", url))

    async def until(self, *expected: Any) -> None:
        """Wait until this was heard."""
        async with asyncio.timeout(END_SECONDS):
            while await self.heard.get() != expected:
                pass


@pytest.fixture
async def client(quorate_cluster: MemoryCluster) -> AsyncIterator[Client]:
    async with Client(quorate_cluster.url) as made:
        yield made


async def join(client: Client) -> str:
    worker_id: str = (await client.register(name="w"))["worker_id"]
    return worker_id


async def test_a_heartbeat_names_what_is_held_and_brings_orders(
    quorate_cluster: MemoryCluster, client: Client
) -> None:
    ear = Ear()
    worker_id = await join(client)
    async with Pulse((quorate_cluster.url,), ear, ear) as pulse:
        pulse.keep(Beat(worker_id, INTERVAL_SECONDS))

        await ear.until("orders", worker_id, (41,))


async def test_a_node_that_takes_no_heartbeat_is_told_of_and_passed_over(
    quorate_cluster: MemoryCluster, client: Client
) -> None:
    ear = Ear()
    worker_id = await join(client)
    async with Pulse((NOBODY, quorate_cluster.url), ear, ear) as pulse:
        pulse.keep(Beat(worker_id, 1.0))

        assert await ear.heard.get() == ("silence", NOBODY)
        assert await ear.heard.get() == ("orders", worker_id, (41,))


async def test_heartbeats_go_where_the_worker_is_connected(
    quorate_cluster: MemoryCluster, client: Client
) -> None:
    ear = Ear()
    worker_id = await join(client)
    async with Pulse((NOBODY, quorate_cluster.url), ear, ear) as pulse:
        pulse.url = quorate_cluster.url
        pulse.keep(Beat(worker_id, INTERVAL_SECONDS))

        assert await ear.heard.get() == ("orders", worker_id, (41,))


async def test_the_end_of_a_session_is_told_once_and_the_next_one_kept(
    quorate_cluster: MemoryCluster, client: Client
) -> None:
    ear = Ear()
    first, second = await join(client), await join(client)
    await client.leave(first)
    async with Pulse((quorate_cluster.url,), ear, ear) as pulse:
        pulse.keep(Beat(first, INTERVAL_SECONDS))
        assert await ear.heard.get() == ("over", first)

        pulse.keep(Beat(second, INTERVAL_SECONDS))
        assert await ear.heard.get() == ("orders", second, (41,))


class FullAtFirst(int):
    """A bound that one call more would exceed, until it has refused two."""

    refused = 0

    def __le__(self, _in_flight: int) -> bool:
        self.refused += 1
        return self.refused <= 2


async def test_a_node_that_has_too_much_to_do_is_asked_again_and_not_left(
    quorate_cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear()
    worker_id = await join(client)
    full = FullAtFirst()
    monkeypatch.setattr(connect, "CALLS_MAX", full)
    async with Pulse((quorate_cluster.url,), ear, ear) as pulse:
        pulse.keep(Beat(worker_id, INTERVAL_SECONDS))

        assert await ear.heard.get() == ("orders", worker_id, (41,))
    assert full.refused > 2


def test_a_heartbeat_is_waited_for_until_its_node_gives_up_and_another_can_be_asked() -> None:
    lease_seconds = ReplicaSettings(node_id="a", members={}, data=Path(), http="").lease_seconds
    beat = Beat("w", lease_seconds / 3)

    assert beat.answer_seconds > PROPOSE_TIMEOUT_SECONDS
    assert beat.interval_seconds + beat.answer_seconds < lease_seconds


async def test_heartbeats_go_on_while_the_loop_stands_still(
    quorate_cluster: MemoryCluster, client: Client
) -> None:
    ear = Ear()
    worker_id = await join(client)
    before = (await client.call("worker", {"id": worker_id}))["last_heartbeat"]
    async with Pulse((quorate_cluster.url,), ear, ear) as pulse:
        pulse.keep(Beat(worker_id, INTERVAL_SECONDS))

        def moved() -> bool:
            with BlockingClient(quorate_cluster.url) as blocking:
                worker = blocking.call("worker", {"id": worker_id})
                return bool(worker["last_heartbeat"] > before)

        deadline = time.monotonic() + END_SECONDS
        while not moved():  # On our own loop's thread: nothing of it runs meanwhile.
            assert time.monotonic() < deadline


async def test_a_pulse_that_was_never_needed_ends() -> None:
    ear = Ear()

    async with asyncio.timeout(END_SECONDS), Pulse((NOBODY,), ear, ear):
        pass

    assert ear.heard.empty()
