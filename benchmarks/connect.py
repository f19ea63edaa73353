"""What a task costs over `/connect`: submitted by 64 callers, drained by two workers, on 3 nodes.

Real processes, every sync on. The workers here are bare: they report each task done as it comes, so
that what is measured is the cluster and the wire. JSON on stdout, progress on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvloop

from benchmarks.control import cpu_seconds_of
from gateway.connection import Answer, Connection
from gateway.frames import Pushed
from gateway.ids import new_id
from node.local import LocalCluster, LocalSettings

CALLERS = 64
WORKERS = 2
SLOTS = 500
BATCH = 1_000
TIMEOUT_SECONDS = 30.0
BARS = {"submits_per_second": 5_000, "drained_per_second": 8_000}


async def submit(url: str, count: int) -> dict[str, float]:
    """Submit so many tasks, one a call, from as many callers at once."""
    connection = await Connection.open(url)

    async def caller() -> None:
        for _ in range(count // CALLERS):
            body = {"id": new_id(), "type": "noop", "data": None}
            answer = await connection.call("submit", body, timeout_seconds=TIMEOUT_SECONDS)
            assert answer.status == 201, answer

    start, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - used}
    await connection.close()
    return took


async def work(url: str) -> dict[str, float]:
    """Report every task done that is pushed, until the input ends."""

    def on_pushed(pushed: Pushed) -> None:
        for lease in pushed.content if pushed.kind == "leased" else ():
            done = {"id": lease["id"], "lease_token": lease["lease_token"]}
            connection.ask("complete", done).add_done_callback(_forget)

    connection = await Connection.open(url, on_pushed=on_pushed)
    registered = await connection.call("register", {"slots": SLOTS}, timeout_seconds=10)
    offer = {"id": registered.value["worker_id"], "epoch": 1, "slots": SLOTS}
    used = time.process_time()
    await connection.call("offer", offer, timeout_seconds=10)
    await asyncio.to_thread(sys.stdin.read)
    took = {"cpu_seconds": time.process_time() - used}
    await connection.close()
    return took


def _forget(answered: asyncio.Future[Answer]) -> None:
    """Whoever waits for what was completed asks the cluster."""
    if not answered.cancelled():
        answered.exception()


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """This program in another role; its input ends with the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()


async def measure_submits(cluster: LocalCluster, leader: str, count: int) -> dict[str, Any]:
    """Submit through the leader."""
    before, index = node_seconds(cluster), await applied_index(cluster, leader)
    async with child("--submit", cluster.places[leader].url, "--count", str(count)) as process:
        assert process.stdout is not None
        took = json.loads(await process.stdout.read())
    return {
        "per_second": count / took["seconds"],
        "per_entry": count / (await applied_index(cluster, leader) - index),
        "cpu_us": per_task(cluster, before, leader, count)
        | {"client": took["cpu_seconds"] / count * 1e6},
    }


async def measure_drain(cluster: LocalCluster, leader: str, count: int) -> dict[str, Any]:
    """Drain what waits, through two workers on the two followers."""
    connection = await Connection.open(cluster.places[leader].url)
    for _ in range(count // BATCH):
        tasks = [{"type": "noop", "data": None} for _ in range(BATCH)]
        await connection.call("submit_batch", {"tasks": tasks}, timeout_seconds=TIMEOUT_SECONDS)
    done = (await connection.call("health", timeout_seconds=10)).value["completed_tasks"]
    before, index = node_seconds(cluster), await applied_index(cluster, leader)
    followers = [place.url for name, place in cluster.places.items() if name != leader]
    async with (
        child("--work", followers[0]) as first,
        child("--work", followers[1]) as second,
    ):
        start = await until_completed(connection, done + 1)
        end = await until_completed(connection, done + count)
        used = per_task(cluster, before, leader, count)
        entries = await applied_index(cluster, leader) - index
    await connection.close()
    for process in (first, second):
        assert process.stdout is not None
        took = json.loads(await process.stdout.read())
        used["workers"] = used.get("workers", 0.0) + took["cpu_seconds"] / count * 1e6
    return {"per_second": count / (end - start), "per_entry": count / entries, "cpu_us": used}


async def until_completed(connection: Connection, total: int) -> float:
    """When so many tasks had been completed."""
    while True:
        health = await connection.call("health", timeout_seconds=10)
        if health.value["completed_tasks"] >= total:
            return time.perf_counter()
        await asyncio.sleep(0.02)


async def applied_index(cluster: LocalCluster, node: str) -> int:
    """How many entries the node has applied."""
    view = await cluster.view(node)
    assert view is not None, f"{node} does not answer"
    return int(view["applied_index"])


def node_seconds(cluster: LocalCluster) -> dict[str, float]:
    """The processor time that each node has used."""
    return {name: cpu_seconds_of(cluster.children[name].pid) for name in cluster.places}


def per_task(
    cluster: LocalCluster, before: dict[str, float], leader: str, count: int
) -> dict[str, float]:
    """Microseconds of processor time a task, of the leader and of the followers together."""
    used = {name: now - before[name] for name, now in node_seconds(cluster).items()}
    followers = sum(seconds for name, seconds in used.items() if name != leader)
    return {"leader": used[leader] / count * 1e6, "followers": followers / count * 1e6}


async def measure(repeats: int, count: int) -> dict[str, Any]:
    """Everything, so many times, on one cluster."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in BARS}
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as data:
        async with LocalCluster(LocalSettings(data=Path(data), workers=0)) as cluster:
            await cluster.start()
            leader = await cluster.wait_ready()
            for number in range(repeats):
                rounds["submits_per_second"].append(await measure_submits(cluster, leader, count))
                rounds["drained_per_second"].append(await measure_drain(cluster, leader, count))
                latest = {name: round(each[-1]["per_second"]) for name, each in rounds.items()}
                sys.stderr.write(f"  round {number + 1}: {latest}\n")
    return {name: summary(each, BARS[name]) for name, each in rounds.items()}


def summary(rounds: list[dict[str, Any]], bar: int) -> dict[str, Any]:
    """The median beside its bar, and what stands behind it."""
    value = median(each["per_second"] for each in rounds)
    parts = rounds[0]["cpu_us"]
    return {
        "value": round(value),
        "bar": bar,
        "met": value >= bar,
        "cpu_us_per_task": {
            part: round(median(each["cpu_us"][part] for each in rounds), 1) for part in parts
        },
        "tasks_per_entry": round(median(each["per_entry"] for each in rounds), 1),
        "rounds": [round(each["per_second"]) for each in rounds],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="tasks a round")
    parser.add_argument("--submit", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.submit:
        result: Any = uvloop.run(submit(given.submit, given.count))
    elif given.work:
        result = uvloop.run(work(given.work))
    else:
        result = uvloop.run(measure(given.repeats, given.count))
    print(json.dumps(result, indent=None if given.submit or given.work else 2))


if __name__ == "__main__":
    main()
