"""The worker's process, asked to stop by a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from gateway.client import Client
from gateway.handles import Handle
from node.local import LocalCluster
from node.waiting import wait_until

END_SECONDS = 30.0

StartCluster = Callable[..., Awaitable[LocalCluster]]


@pytest.fixture
async def url(start_cluster: StartCluster) -> str:
    return (await start_cluster(nodes=1, workers=0)).urls[0]


def worker_process(url: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "node", "worker", "--url", url, *options]
    return subprocess.Popen(command)


async def until_processing(handle: Handle[object]) -> None:
    async def processing() -> bool:
        return await handle.status() == "processing"

    await wait_until(processing, what="the task to be leased", timeout_seconds=END_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_asked_to_stop_ends_what_it_runs_and_leaves(
    url: str, number: signal.Signals
) -> None:
    async with Client(url) as client:
        handle = await client.submit("sleep", 1)
        with worker_process(url) as worker:
            await until_processing(handle)

            worker.send_signal(number)
            ended = await handle.ended(timeout=END_SECONDS)
            status = worker.wait(timeout=END_SECONDS)

        assert (ended["status"], ended["deliveries"], status) == ("completed", 1, 0)
        assert await client.workers() == []


async def test_a_worker_hands_back_what_does_not_end_within_the_drain_time(url: str) -> None:
    async with Client(url) as client:
        handle = await client.submit("sleep", 600)
        with worker_process(url, "--drain-seconds", "0.2") as worker:
            await until_processing(handle)

            worker.terminate()
            status = worker.wait(timeout=END_SECONDS)

        handed_back = await handle.task()
        assert (handed_back["status"], handed_back["attempts"], status) == ("pending", 0, 0)


async def test_a_second_signal_ends_a_worker_at_once(url: str) -> None:
    async with Client(url) as client:
        handle = await client.submit("sleep", 600)
        with worker_process(url, "--drain-seconds", "600") as worker:
            await until_processing(handle)
            worker.terminate()

            async def draining() -> bool:
                worker.terminate()  # The second one, once the first was taken.
                return worker.poll() is not None

            await wait_until(draining, what="the worker to end", timeout_seconds=END_SECONDS)

        assert worker.returncode == -signal.SIGTERM
