"""A million tasks: what a snapshot of them costs those who write meanwhile, and a restart."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import aiohttp

from benchmarks.control import cpu_seconds_of
from benchmarks.replica_cluster import HOST, ReplicaCluster, free_ports, running
from benchmarks.results import Effort, Result, Results, say
from node.lifeline import PARENT_VARIABLE

_POLL_SECONDS = 0.01
_BATCHES_MAX = 50  # Of a thousand tasks, made before they are proposed: they take memory too.


async def measure_million(machine: str, effort: Effort) -> Results:
    """Fill three nodes, snapshot the leader under load, and start one follower again."""
    if machine == "noop":
        return {}  # It keeps nothing.
    async with running(machine) as cluster:
        leader = await cluster.leader()
        for batches in _parts(effort.million_batches):
            await cluster.load(leader, proposers=2, count=batches, tasks=1_000)
        say(f"  {effort.million_batches * 1_000} tasks are there")
        results = await _measure_snapshot(cluster, effort)
        return results | await _measure_restart(cluster)


async def _measure_snapshot(cluster: ReplicaCluster, effort: Effort) -> Results:
    leader = await cluster.leader()
    before = await cluster.load(leader, count=effort.singles)
    loading = asyncio.create_task(cluster.load(leader))
    seconds = await cluster[leader].ask("snapshot")
    await cluster[leader].ask("stop_load")
    during = await loading
    details = {
        name: {key: round(load[key], 3) for key in ("p50_ms", "p99_ms")}
        for name, load in (("before", before), ("during", during))
    }
    return {
        "snapshot_s": Result(value=seconds, bar=5.0),
        "commit_ratio_during_snapshot": Result(
            value=during["p50_ms"] / before["p50_ms"],
            bar=2.0,
            details=details | {"errors": during["errors"]},
        ),
    }


async def _measure_restart(cluster: ReplicaCluster) -> Results:
    """Kill a follower that has a snapshot, and start it as `quorate node` does."""
    follower = cluster.followers(await cluster.leader())[0]
    await cluster[follower].ask("snapshot")
    await cluster[follower].kill()
    url = f"http://{HOST}:{free_ports(1)[0]}"
    start = time.monotonic()
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "node", "node", "--id", follower),
        *("--cluster", ",".join(f"{id_}={at}" for id_, at in cluster.members_of(follower).items())),
        *("--http", url.removeprefix("http://"), "--data", str(cluster.data / follower)),
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
    )
    try:
        async with aiohttp.ClientSession(url) as http:
            lives = await _answered(http, "/livez") - start
            cpu_until_alive = cpu_seconds_of(node.pid)
            serves = await _answered(http, "/tasks?limit=1") - start
            cpu_until_serving = cpu_seconds_of(node.pid)
    finally:
        node.kill()
        await node.wait()
    return {
        "livez_s": Result(value=lives, bar=2.0, details={"cpu_seconds": cpu_until_alive}),
        "restart_s": Result(value=serves, bar=15.0, details={"cpu_seconds": cpu_until_serving}),
    }


async def _answered(http: aiohttp.ClientSession, path: str) -> float:
    """When *path* was first answered with 200."""
    while True:
        try:
            async with http.get(path) as answer:
                if answer.status == 200:
                    return time.monotonic()
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(_POLL_SECONDS)


def _parts(batches: int) -> list[Any]:
    whole, rest = divmod(batches, _BATCHES_MAX)
    return [_BATCHES_MAX] * whole + [rest] * bool(rest)
