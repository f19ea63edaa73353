"""The supervisor: which ports it takes, and that no process outlives it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from node.local import LocalCluster, LocalSettings, ProcessDied
from node.waiting import wait_until
from tests.conftest import CommandLine

StartCluster = Callable[..., Awaitable[LocalCluster]]


async def until_gone(pids: list[int]) -> None:
    async def are_gone() -> bool:
        return not any(is_alive(pid) for pid in pids)

    await wait_until(are_gone, what=f"processes {pids} to be gone", timeout_seconds=10)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> list[int]:
    """The direct children, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def test_a_taken_port_is_passed_over(tmp_path: Path, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        cluster = LocalCluster(
            LocalSettings(data=tmp_path, http_port=free_port, raft_port=free_port)
        )

    ports = [port for place in cluster.places.values() for port in place]
    assert free_port not in ports
    assert len(set(ports)) == 6


def test_only_ports_that_others_hold_are_told_as_taken(tmp_path: Path, free_port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", free_port + 1)),
        socket.create_server(("127.0.0.1", free_port + 2)),
    ):
        cluster = LocalCluster(
            LocalSettings(data=tmp_path, http_port=free_port, raft_port=free_port + 5)
        )

    assert [tuple(passed) for passed in cluster.ports_passed_over] == [
        ("HTTP", (free_port + 1, free_port + 2), "node2", free_port + 3)
    ]


async def test_a_cluster_whose_ports_were_just_taken_does_not_join_who_took_them(
    tmp_path: Path, free_port: int
) -> None:
    first, late = (
        LocalCluster(
            LocalSettings(
                data=tmp_path / name,
                nodes=1,
                workers=1,
                http_port=free_port,
                raft_port=free_port + 5,
            )
        )
        for name in ("first", "late")
    )  # Both have chosen their ports before either starts.

    async with first, late:
        await first.start()
        await first.wait_ready()
        with pytest.raises(ProcessDied, match=r"node1 ended .* is taken by another program"):
            await late.start()

        async with first.client("node1") as client:
            assert len(await client.workers()) == 1


async def test_a_worker_is_known_by_its_session_not_by_its_name(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster(nodes=1, workers=1)
    await cluster.kill("worker1")

    await cluster.start_worker("worker1")
    await cluster.wait_ready()

    announced = cluster.children["worker1"].announcements.get("session")
    async with cluster.client("node1") as client:
        assert announced in {worker["id"] for worker in await client.workers()}


async def test_one_damaged_node_does_not_keep_the_majority_from_starting(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = await start_cluster(nodes=3, workers=0)
    await cluster.stop()
    (tmp_path / "node2" / "identity").write_bytes(b"damaged")

    await cluster.start()
    leader = await cluster.wait_ready()

    assert leader in {"node1", "node3"}
    assert list(cluster.given_up) == ["node2"]
    assert "identity is damaged" in cluster.given_up["node2"]


async def test_without_a_majority_that_is_whole_the_start_fails(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = await start_cluster(nodes=1, workers=0)
    await cluster.stop()
    (tmp_path / "node1" / "identity").write_bytes(b"damaged")

    with pytest.raises(ProcessDied, match=r"node1 ended .* is damaged"):
        await cluster.start()


async def test_every_process_is_gone_when_the_context_ends(start_cluster: StartCluster) -> None:
    cluster = await start_cluster(nodes=1, workers=1)
    pids = [child.pid for child in cluster.children.values()]

    await cluster.stop()

    await until_gone(pids)
    assert {child.status for child in cluster.children.values()} == {0}


async def test_a_frozen_process_is_thawed_to_stop_by_itself(start_cluster: StartCluster) -> None:
    cluster = await start_cluster(nodes=1, workers=0)
    cluster.freeze("node1")

    await cluster.stop()

    assert cluster.children["node1"].status == 0


async def test_a_node_comes_back_on_what_it_had(start_cluster: StartCluster) -> None:
    cluster = await start_cluster(nodes=1, workers=0)
    async with cluster.client("node1") as client:
        task = await client.submit("echo", 1)

    await cluster.kill("node1")
    await cluster.start_node("node1")
    await cluster.wait_ready()

    async with cluster.client("node1") as client:
        assert (await client.task(task.id))["status"] == "pending"


async def test_waiting_for_a_process_that_died_ends_with_its_last_words(
    tmp_path: Path, free_port: int
) -> None:
    settings = LocalSettings(
        data=tmp_path, nodes=1, workers=1, http_port=free_port, modules=("no_such_module",)
    )
    async with LocalCluster(settings) as cluster:
        await cluster.start()
        with pytest.raises(ProcessDied, match=r"worker1 ended .* no module 'no_such_module'"):
            await cluster.wait_ready()


async def test_children_die_with_a_parent_that_is_killed(
    command_line: CommandLine, free_port: int, tmp_path: Path
) -> None:
    options = ("--nodes", "1", "--workers", "1", "--port", str(free_port), "--json")
    # A killed parent cannot clear a temporary directory away.
    data = str(tmp_path / "data")
    with command_line.running("up", *options, "--data", data) as process:
        await asyncio.to_thread(read_until, process.stdout, "ready")
        children = children_of(process.pid)
        assert len(children) == 2

        process.kill()

        await until_gone(children)


async def test_ctrl_c_stops_everything_and_is_a_good_end(
    command_line: CommandLine, free_port: int
) -> None:
    options = ("--nodes", "1", "--workers", "1", "--port", str(free_port), "--json")
    with command_line.running("up", *options) as process:
        await asyncio.to_thread(read_until, process.stdout, "ready")
        children = children_of(process.pid)

        process.send_signal(signal.SIGINT)

        assert await asyncio.to_thread(process.wait, 40) == 0
        await until_gone(children)


async def test_a_second_ctrl_c_ends_at_once_and_clears_the_temporary_data_away(
    command_line: CommandLine, free_port: int, tmp_path: Path
) -> None:
    options = ("--nodes", "1", "--workers", "1", "--port", str(free_port))
    with command_line.running("up", *options, "--json", TMPDIR=str(tmp_path)) as process:
        await asyncio.to_thread(read_until, process.stdout, "ready")
        async with Client(f"http://127.0.0.1:{free_port}") as client:
            task = await client.submit("sleep", 60)
            await until_running(client, task.id)
            # Leased is not yet delivered; but polls follow one another, so that what came after
            # it is done only once it was.
            later = await client.submit("noop", None)
            assert (await client.task(later.id, wait=10))["status"] == "completed"
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(read_line, process.stdout, "waiting up to 20 s for running tasks")

        process.send_signal(signal.SIGINT)

        assert await asyncio.to_thread(process.wait, 15) == 0
    assert not names_in(tmp_path)


async def test_a_taken_port_is_told_in_one_sentence(
    command_line: CommandLine, free_port: int
) -> None:
    options = ("--nodes", "1", "--workers", "0", "--port", str(free_port), "--json")
    with (
        socket.create_server(("127.0.0.1", free_port)),
        socket.create_server(("127.0.0.1", free_port + 1)),
        command_line.running("up", *options) as process,
    ):
        told = await asyncio.to_thread(read_until, process.stdout, "port_taken")

    taken = f"HTTP ports {free_port} to {free_port + 1} are taken"
    assert told["text"] == f"{taken}, so node1 takes {free_port + 2}."


async def test_a_child_that_dies_is_told_and_not_started_again(
    command_line: CommandLine, free_port: int
) -> None:
    options = ("--nodes", "1", "--workers", "1", "--port", str(free_port), "--json")
    with command_line.running("up", *options) as process:
        await asyncio.to_thread(read_until, process.stdout, "ready")
        victim = children_of(process.pid)[-1]

        os.kill(victim, signal.SIGKILL)
        told = await asyncio.to_thread(read_until, process.stdout, "died")

        assert told["status"] == -signal.SIGKILL
        assert victim not in children_of(process.pid)
        assert len(children_of(process.pid)) == 1


async def until_running(client: Client, task_id: str) -> None:
    async def is_running() -> bool:
        return bool((await client.task(task_id))["status"] == "processing")

    await wait_until(is_running, what=f"task {task_id} to run", timeout_seconds=10)


def names_in(directory: Path) -> list[str]:
    """What temporary data is there."""
    return [path.name for path in directory.glob("quorate-*")]


def read_line(lines: Any, text: str) -> None:
    """Read up to the first line that holds the text."""
    assert any(text in line for line in lines), f"{text!r} was not told"


def read_until(lines: Any, event: str) -> dict[str, object]:
    """The first event of this kind that the command tells."""
    told = (json.loads(line) for line in lines)
    found: dict[str, object] | None = next((row for row in told if row["event"] == event), None)
    assert found is not None, f"no {event!r} was told"
    return found
