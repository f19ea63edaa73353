"""`quorate gateway` before three real nodes, the leader of which dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from gateway.client import Client
from node.local import LocalCluster
from tests.conftest import CommandLine

TASKS = 120
CLIENTS = 6


@contextmanager
def gateway(
    command_line: CommandLine, cluster: LocalCluster
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A gateway to all nodes of the cluster; its URL and its process."""
    nodes = ",".join(f"{name}={place.url}" for name, place in cluster.places.items())
    options = ("--cluster", nodes, "--http", "127.0.0.1:0")
    with command_line.running("gateway", *options) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if " answers at " in line)
        yield line.split(" answers at ")[1].split()[0], process


async def test_clients_and_workers_of_a_gateway_notice_no_nodes_death(
    start_cluster: Callable[..., Awaitable[LocalCluster]], command_line: CommandLine
) -> None:
    cluster = await start_cluster(nodes=3, workers=0)
    with gateway(command_line, cluster) as (url, process):
        async with Client(url) as client:
            half_done = asyncio.Event()
            handles = []

            async def submit_in_turn(number: int) -> None:
                for value in range(number, TASKS, CLIENTS):
                    handles.append(await client.submit("echo", value))
                    if len(handles) == TASKS // 2:
                        half_done.set()

            async def kill_the_leader() -> None:
                await half_done.wait()
                leader = await cluster.wait_ready()
                await cluster.kill(leader)

            async with asyncio.TaskGroup() as group:
                group.create_task(kill_the_leader())
                for number in range(CLIENTS):
                    group.create_task(submit_in_turn(number))

            with command_line.running("worker", "--url", url):
                results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))

            assert sorted(results) == list(range(TASKS))
            assert (await client.health())["completed_tasks"] == TASKS

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def test_a_gateway_stays_on_the_loopback_without_a_secret(command_line: CommandLine) -> None:
    options = ("--cluster", "node1=http://127.0.0.1:5000", "--http", "0.0.0.0:5000")
    done = command_line.run("gateway", *options)

    assert done.returncode == 2
    assert "can be reached from other machines" in done.stderr


def test_a_taken_port_is_told(command_line: CommandLine, small_cluster: list[str]) -> None:
    taken = small_cluster[0].removeprefix("http://")
    done = command_line.run("gateway", "--cluster", f"node1={small_cluster[0]}", "--http", taken)

    assert done.returncode == 1
    assert f"{taken} is taken by another program: choose another with --http" in done.stderr
