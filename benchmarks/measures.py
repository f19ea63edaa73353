"""The measurements of the replica's benchmark: each starts its own cluster and fills in its keys.

Speeds are medians over repeats; times that bound an outage are the worst of all rounds, unless the
key says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.control import OperationFailed, Process
from benchmarks.replica_cluster import (
    HOST,
    NODES,
    ReplicaCluster,
    acknowledged,
    free_ports,
    next_prefix,
    running,
    scratch_directory,
)

PAYLOAD_BYTES = 100
APPEND_BYTES = 200  # What one small command becomes on disk.


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure. The bars are meant for the defaults."""

    repeats: int = 5
    appends: int = 500
    singles: int = 1_000
    outstanding: int = 30_000
    batches: int = 40
    kills: int = 30
    rounds: int = 5  # Of freezing, and of isolating, a leader.
    away_seconds: float = 20.0
    idle_seconds: float = 10.0
    minutes: float = 10.0
    stock_singles: int = 40
    stock_outstanding: int = 20_000
    profile: Path | None = None  # Where profiles go; profiled figures are not comparable.


QUICK = Effort(
    repeats=1,
    appends=50,
    singles=20,
    outstanding=500,
    batches=2,
    kills=1,
    rounds=1,
    away_seconds=1.0,
    idle_seconds=0.5,
    minutes=0.02,
    stock_singles=3,
    stock_outstanding=200,
)


@dataclass(slots=True, kw_only=True)
class Result:
    """One key's figure, what it must not exceed or fall short of, and what stands behind it."""

    value: float
    bar: float | None = None
    is_floor: bool = False  # The bar is the least, not the most.
    details: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """As JSON shows it. Without a bar nothing is claimed."""
        shown: dict[str, Any] = {"value": round(self.value, 4)}
        if self.bar is not None:
            is_met = self.value >= self.bar if self.is_floor else self.value <= self.bar
            shown |= {"bar": round(self.bar, 4), "met": is_met}
        return shown | self.details


Results = dict[str, Result]


class Measurement(NamedTuple):
    """What fills in some keys, for one machine."""

    keys: tuple[str, ...]
    run: Callable[[str, Effort], Awaitable[Results]]


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


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
        "fdatasync_p50_ms": Result(value=sync, details={"repeats": _rounded(syncs)}),
        "single_p50_ms": _median_of(for_leader, "p50_ms", bar=4 * sync + 1.5),
        "single_follower_p50_ms": _median_of(for_follower, "p50_ms"),
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
    result = _median_of(loads, "per_second", bar=15_000)
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
    return {"batch_1000_tasks_per_second": _median_of(loads, "tasks_per_second")}


async def measure_failover(machine: str, effort: Effort) -> Results:
    """SIGKILL the leader; until the next write through a survivor is acknowledged."""
    took = []
    async with running(machine) as cluster:
        for number in range(effort.kills):
            leader = await cluster.leader()
            survivor = random.choice(cluster.followers(leader))
            killed_at = time.monotonic()
            _, at = await asyncio.gather(cluster[leader].kill(), acknowledged(cluster[survivor]))
            took.append(at - killed_at)
            say(f"  kill {number + 1}: {took[-1]:.3f} s")
            await cluster.start_node(leader)
            await cluster.wait_following(leader)
    details = {"rounds": _rounded(took)}
    return {
        "failover_median_s": Result(value=median(took), bar=0.3, details=details),
        "failover_worst_s": Result(value=max(took), bar=0.8),
    }


async def measure_frozen_leader(machine: str, effort: Effort) -> Results:
    """SIGSTOP the leader; until a write through another node is acknowledged."""
    took = []
    async with running(machine) as cluster:
        for _ in range(effort.rounds):
            leader = await cluster.leader()
            frozen_at = time.monotonic()
            cluster[leader].freeze()
            at = await acknowledged(cluster[random.choice(cluster.followers(leader))])
            took.append(at - frozen_at)
            cluster[leader].thaw()
            await cluster.wait_following(leader)
    return {"frozen_leader_s": _worst_of(took, bar=1.5)}


async def measure_isolated_leader(machine: str, effort: Effort) -> Results:
    """Blackhole the leader's links; until it serves nothing and no longer says that it leads."""
    took = []
    async with running(machine, is_relayed=True) as cluster:
        for _ in range(effort.rounds):
            leader = await cluster.leader()
            watch = cluster[leader].ask("watch_deposition", prefix=next_prefix())
            watching = asyncio.create_task(watch)
            await acknowledged(cluster[leader])
            isolated_at = cluster.isolate(leader)
            seen = await watching
            took.append(max(seen["served_at"], seen["deposed_at"]) - isolated_at)
            await _must_refuse(cluster[leader])
            await cluster.heal(leader)
            await cluster.wait_following(leader)
    return {"isolated_leader_s": _worst_of(took, bar=1.2)}


async def measure_catch_up(machine: str, effort: Effort) -> Results:
    """Isolate a follower under 300 writes a second; from the heal until it has what was applied."""
    async with running(machine, is_relayed=True) as cluster:
        leader = await cluster.leader()
        follower = cluster.followers(leader)[0]
        load = asyncio.create_task(cluster.load(leader, per_second=300))
        await acknowledged(cluster[leader])
        cluster.isolate(follower)
        await asyncio.sleep(effort.away_seconds)
        behind = await cluster[follower].ask("status")
        ahead = await cluster[leader].ask("status")
        healed_at = await cluster.heal(follower)
        reached_at = await cluster[follower].ask(
            "reach", index=ahead["applied_index"], timeout_seconds=60.0
        )
        await cluster[leader].ask("stop_load")
        result = await load
    missed = ahead["applied_index"] - behind["applied_index"]
    details = {"entries_missed": missed, "errors": result["errors"]}
    return {"catch_up_s": Result(value=reached_at - healed_at, bar=3.0, details=details)}


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


async def measure_elections_under_load(machine: str, effort: Effort) -> Results:
    """A hundred proposers on every node for minutes: whoever is merely busy must not be deposed."""
    async with running(machine) as cluster:
        await cluster.leader()
        term = await cluster.term()
        busy = _CpuClock()
        loads = [
            asyncio.create_task(
                cluster[name].ask("load", prefix=next_prefix(), proposers=100, is_recycled=True)
            )
            for name in NODES
        ]
        end = time.monotonic() + effort.minutes * 60
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(30.0, left))
            say(f"  {max(0.0, end - time.monotonic()):.0f} s left, term {await cluster.term()}")
        busy_percent = busy.percent()
        for name in NODES:
            await cluster[name].ask("stop_load")
        results = await asyncio.gather(*loads)
        elections = await cluster.term() - term
    details = {
        "minutes": effort.minutes,
        "machine_busy_percent": round(busy_percent, 1),
        "per_second": round(sum(result["per_second"] for result in results)),
        "worst_p99_ms": round(max(result["p99_ms"] or 0.0 for result in results), 1),
        "errors": [result["errors"] for result in results if result["errors"]],
    }
    return {"elections_in_10_minutes_of_load": Result(value=elections, bar=0, details=details)}


async def measure_stock(effort: Effort) -> Results:
    """pysyncobj as its README uses it: a journal that is never synced, a tick each 50 ms."""
    async with scratch_directory() as data:
        addresses = [f"{HOST}:{port}" for port in free_ports(len(NODES))]
        processes = {
            address: await Process.start(
                Path(__file__).with_name("stock_node.py"),
                {
                    "address": address,
                    "partners": [other for other in addresses if other != address],
                    "journal": str(data / f"journal-{number}"),
                },
            )
            for number, address in enumerate(addresses)
        }
        try:
            leader = processes[await _stock_leader(processes)]
            single = await leader.ask(
                "load", count=effort.stock_singles, proposers=1, payload_bytes=PAYLOAD_BYTES
            )
            many = await leader.ask(
                "load", count=effort.stock_outstanding, proposers=100, payload_bytes=PAYLOAD_BYTES
            )
        finally:
            await asyncio.gather(*(process.kill() for process in processes.values()))
    return {
        "stock_single_p50_ms": Result(value=single["p50_ms"]),
        "stock_outstanding_100_per_second": Result(
            value=many["per_second"], details={"errors": many["errors"]}
        ),
    }


MEASUREMENTS = (
    Measurement(("fdatasync_p50_ms", "single_p50_ms", "single_follower_p50_ms"), measure_single),
    Measurement(("outstanding_100_per_second",), measure_outstanding),
    Measurement(("batch_1000_tasks_per_second",), measure_batches),
    Measurement(("idle_cpu_percent",), measure_idle),
    Measurement(("failover_median_s", "failover_worst_s"), measure_failover),
    Measurement(("frozen_leader_s",), measure_frozen_leader),
    Measurement(("isolated_leader_s",), measure_isolated_leader),
    Measurement(("catch_up_s",), measure_catch_up),
    Measurement(("elections_in_10_minutes_of_load",), measure_elections_under_load),
)
STOCK_KEYS = ("stock_single_p50_ms", "stock_outstanding_100_per_second")


class _CpuClock:
    """How busy this machine is, all of it, from now on."""

    def __init__(self) -> None:
        self._start = self._read()

    def percent(self) -> float:
        """Busy time since the start, in percent of all processors' time."""
        busy, total = (now - then for now, then in zip(self._read(), self._start, strict=True))
        return 100 * busy / max(total, 1)

    @staticmethod
    def _read() -> tuple[int, int]:
        line = Path("/proc/stat").read_text().splitlines()[0]
        ticks = [int(field) for field in line.split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # Idle, and waiting for the disk.


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


async def _must_refuse(process: Process) -> None:
    for op, arguments in (("read", {}), ("propose", {"prefix": next_prefix()})):
        try:
            answer = await process.ask(op, timeout_seconds=0.2, **arguments)
        except OperationFailed:
            continue
        raise AssertionError(f"an isolated node answered a {op}: {json.dumps(answer)}")


async def _stock_leader(processes: dict[str, Process]) -> str:
    async with asyncio.timeout(30):
        while True:
            views = [await process.ask("status") for process in processes.values()]
            leaders = {view["leader"] for view in views}
            if all(view["is_ready"] for view in views) and len(leaders) == 1:
                return str(leaders.pop())
            await asyncio.sleep(0.1)


def _median_of(loads: list[dict[str, Any]], name: str, bar: float | None = None) -> Result:
    middle = sorted(loads, key=lambda load: load[name])[len(loads) // 2]
    details = {
        "repeats": _rounded(load[name] for load in loads),
        "p50_ms": round(middle["p50_ms"], 3),
        "p99_ms": round(middle["p99_ms"], 3),
        "cpu_seconds_per_1000": middle["cpu_seconds_per_1000"],
        "errors": middle["errors"],
    }
    return Result(value=median(load[name] for load in loads), bar=bar, details=details)


def _worst_of(took: list[float], bar: float) -> Result:
    details = {"median": round(median(took), 4), "rounds": _rounded(took)}
    return Result(value=max(took), bar=bar, details=details)


def _rounded(values: Any) -> list[float]:
    return [round(value, 4) for value in values]
