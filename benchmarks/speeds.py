"""How fast the replica is, and what it costs at rest: medians over repeats."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.replica_cluster import NODES, ReplicaCluster, running
from benchmarks.results import Effort, Result, Results, median_of, rounded

APPEND_BYTES = 200  # What one small command becomes on disk.


def fdatasync_p50_ms(directory: Path, appends: int) -> float:
    """The disk's own price: append a little, make it durable; nothing of ours is running."""
    waits = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(appends):
            start = time.perf_counter()
            file.write(bytes(APPEND_BYTES))
            os.fdatasync(file.fileno())
            waits.append(time.perf_counter() - start)
    return median(waits) * 1e3


async def measure_single(machine: str, effort: Effort) -> Results:
    """One proposal at a time, through the leader and through a follower."""
    async with running(machine) as cluster:
        leader = await cluster.leader()
        follower = cluster.followers(leader)[0]
        syncs: list[float] = []
        for_leader: list[dict[str, Any]] = []
        for_follower: list[dict[str, Any]] = []
        async with _profiled(cluster, effort, f"single-{machine}", leader):
            for _ in range(effort.repeats):
                syncs.append(fdatasync_p50_ms(cluster.data, effort.appends))
                for_leader.append(await cluster.load(leader, count=effort.singles))
                for_follower.append(await cluster.load(follower, count=effort.singles))
    sync = median(syncs)
    return {
        "fdatasync_p50_ms": Result(value=sync, details={"repeats": rounded(syncs)}),
        "single_p50_ms": median_of(for_leader, "p50_ms", bar=4 * sync + 1.5),
        "single_follower_p50_ms": median_of(for_follower, "p50_ms"),
    }


async def measure_outstanding(machine: str, effort: Effort) -> Results:
    """A hundred proposers on the leader."""
    async with running(machine) as cluster:
        leader = await cluster.leader()
        async with _profiled(cluster, effort, f"outstanding-{machine}", leader):
            loads = [
                await cluster.load(leader, proposers=100, count=effort.outstanding)
                for _ in range(effort.repeats)
            ]
    result = median_of(loads, "per_second", bar=15_000)
    return {"outstanding_100_per_second": replace(result, is_floor=True)}


async def measure_batches(machine: str, effort: Effort) -> Results:
    """Submissions of a thousand tasks, two under way."""
    async with running(machine) as cluster:
        leader = await cluster.leader()
        loads = [
            await cluster.load(leader, proposers=2, count=effort.batches, tasks=1_000)
            for _ in range(effort.repeats)
        ]
    for load in loads:
        load["tasks_per_second"] = load["per_second"] * 1_000
    result = median_of(loads, "tasks_per_second", bar=50_000)
    return {"batch_1000_tasks_per_second": replace(result, is_floor=True)}


async def measure_idle(machine: str, effort: Effort) -> Results:
    """What three nodes cost that have nothing to do; the busiest one counts."""
    async with running(machine) as cluster:
        await cluster.leader()
        start = time.monotonic()
        before = {name: cluster[name].cpu_seconds() for name in NODES}
        await asyncio.sleep(effort.idle_seconds)
        seconds = time.monotonic() - start
        percent = {
            name: 100 * (cluster[name].cpu_seconds() - before[name]) / seconds for name in NODES
        }
    details = {"nodes": {name: round(value, 2) for name, value in percent.items()}}
    return {"idle_cpu_percent": Result(value=max(percent.values()), bar=2.0, details=details)}


class _profiled:  # noqa: N801 - reads as the context that it is.
    """Profiles the leader and a follower while the context lasts, if that was asked for."""

    def __init__(self, cluster: ReplicaCluster, effort: Effort, title: str, leader: str) -> None:
        self._directory = effort.profile
        self._title = title
        self._processes = {
            "leader": cluster[leader],
            "follower": cluster[cluster.followers(leader)[0]],
        }

    async def __aenter__(self) -> None:
        if self._directory is not None:
            for process in self._processes.values():
                await process.ask("start_profile")

    async def __aexit__(self, *_error: object) -> None:
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            for role, process in self._processes.items():
                path = self._directory.resolve() / f"{self._title}-{role}.pstats"
                await process.ask("stop_profile", path=str(path))
