"""What whole tasks cost: three nodes, two workers and a client, each a process, every sync on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.control import Process, cpu_seconds_of
from benchmarks.replica_cluster import free_ports, scratch_directory
from benchmarks.results import Result, Results, rounded
from benchmarks.speeds import fdatasync_p50_ms
from gateway import Client
from node.local import LocalCluster, LocalSettings

HANDLERS = "benchmarks.tasks_handlers"
SLOTS = 64  # Of each worker.
OUTSTANDING = 64
BATCH_TASKS = 500
BATCHES_OUTSTANDING = 4
PER_SECOND = 50.0
SLEEP_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEffort:
    """How long to measure. The bars are meant for the defaults."""

    repeats: int = 3
    appends: int = 500
    submissions: int = 10_000
    batches: int = 60
    drained: int = 20_000
    paced: int = 1_000
    slept: int = 100


QUICK = TaskEffort(
    repeats=1, appends=20, submissions=100, batches=2, drained=200, paced=20, slept=20
)


class House:
    """A whole cluster, ready, and the client beside it."""

    def __init__(self, cluster: LocalCluster, client: Process, leader: str) -> None:
        self.cluster = cluster
        self.leader = leader
        self._client = client
        # The leader is asked first, as by whoever was handed any node's address.
        others = [place.url for name, place in cluster.places.items() if name != leader]
        self.urls = [cluster.places[leader].url, *others]

    async def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Have the client do *op*, and account for what it cost each process."""
        before = self._cpu_seconds()
        result: dict[str, Any] = await self._client.ask(op, urls=self.urls, **arguments)
        after = self._cpu_seconds()
        tasks = result["operations"] * arguments.get("tasks", 1)
        spent = {name: after[name] - before[name] for name in before}
        followers = [name for name in self.cluster.places if name != self.leader]
        result["cpu_ms_per_task"] = {
            name: round(seconds * 1e3 / tasks, 4)
            for name, seconds in {
                "leader": spent[self.leader],
                "follower": max(spent[name] for name in followers),
                "worker": max(spent[name] for name in self.cluster.worker_names),
                "client": result["cpu_seconds"],
            }.items()
        }
        return result

    def _cpu_seconds(self) -> dict[str, float]:
        return {name: cpu_seconds_of(child.pid) for name, child in self.cluster.children.items()}


@asynccontextmanager
async def house(*, slots: int = SLOTS) -> AsyncIterator[House]:
    """Three nodes and two workers on this repository's disk; they end with the context."""
    async with scratch_directory() as data:
        http_port, raft_port = free_ports(2)
        settings = LocalSettings(
            data=data,
            nodes=3,
            workers=2,
            http_port=http_port,
            raft_port=raft_port,
            modules=(HANDLERS,),
            slots=slots,
        )
        async with LocalCluster(settings) as cluster:
            await cluster.start()
            leader = await cluster.wait_ready()
            client = await Process.start(Path(__file__).with_name("tasks_client.py"), {})
            try:
                yield House(cluster, client, leader)
            finally:
                await client.kill()


async def measure_submit_sdk(effort: TaskEffort) -> Results:
    """64 submissions under way, over the SDK's one connection."""
    return await _speed("submit_sdk_64_per_second", "submit_sdk", 5_000, effort)


async def measure_submit_http(effort: TaskEffort) -> Results:
    """64 submissions under way, each on a connection of plain HTTP."""
    return await _speed("submit_http_64_per_second", "submit_http", 2_000, effort)


async def measure_batches(effort: TaskEffort) -> Results:
    """Four batches of 500 under way."""
    async with house() as built:
        runs = [
            await built.ask(
                "submit_batches",
                count=effort.batches,
                outstanding=BATCHES_OUTSTANDING,
                tasks=BATCH_TASKS,
            )
            for _ in range(effort.repeats)
        ]
        for run in runs:
            run["per_second"] *= BATCH_TASKS
        return _speeds("batch_500_tasks_per_second", 25_000, runs, effort, built)


async def measure_drain(effort: TaskEffort) -> Results:
    """A backlog of tasks that do nothing, until the last is completed."""
    async with house() as built:
        runs = [
            await built.ask("drain", count=effort.drained, queue="default")
            for _ in range(effort.repeats)
        ]
        return _speeds("drain_tasks_per_second", 8_000, runs, effort, built)


async def measure_latencies(effort: TaskEffort) -> Results:
    """Fifty tasks a second: until each begins, and until its result is with the client."""
    async with house() as built:
        runs = [
            await built.ask("latencies", count=effort.paced, per_second=PER_SECOND)
            for _ in range(effort.repeats)
        ]
        shared = {"fdatasync_p50_ms": _disk(effort, built)}
        return {
            key: Result(
                value=median(run[of][share] for run in runs),
                bar=bar,
                details={
                    "repeats": rounded(run[of][share] for run in runs),
                    "worst_ms": round(max(run[of]["worst"] for run in runs), 3),
                    "submit_p50_ms": round(median(run["submit_ms"]["p50"] for run in runs), 3),
                    "cpu_ms_per_task": runs[-1]["cpu_ms_per_task"],
                }
                | shared,
            )
            for key, of, share, bar in (
                ("start_p50_ms", "start_ms", "p50", 4),
                ("start_p99_ms", "start_ms", "p99", 15),
                ("result_p50_ms", "result_ms", "p50", 6),
            )
        }


async def measure_scale_up(effort: TaskEffort) -> Results:
    """Tasks that sleep, by two workers of one slot each, and again once three more have joined."""
    async with house(slots=1) as built:
        at_two = await built.ask("sleep", count=effort.slept, seconds=SLEEP_SECONDS)
        for number in (3, 4, 5):
            await built.cluster.start_worker(f"worker{number}")
        await built.cluster.wait_ready()
        at_five = await built.ask("sleep", count=effort.slept, seconds=SLEEP_SECONDS)
    details = {
        "two_workers_per_second": round(at_two["per_second"], 2),
        "five_workers_per_second": round(at_five["per_second"], 2),
        "tasks_by_worker": at_five["by_worker"],
    }
    ratio = at_five["per_second"] / at_two["per_second"]
    return {"scale_up_ratio": Result(value=ratio, bar=2, is_floor=True, details=details)}


async def measure_cold_start(effort: TaskEffort) -> Results:
    """From nothing to the first result: three nodes, two workers, one task."""
    took = []
    for _ in range(effort.repeats):
        start = time.monotonic()
        async with house() as built, Client(built.urls) as client:
            await (await client.submit("benchmark.noop", None)).result(timeout=30)
            took.append(time.monotonic() - start)
    return {"cold_start_s": Result(value=median(took), bar=3, details={"repeats": rounded(took)})}


async def _speed(key: str, op: str, floor: float, effort: TaskEffort) -> Results:
    async with house() as built:
        runs = [
            await built.ask(op, count=effort.submissions, outstanding=OUTSTANDING)
            for _ in range(effort.repeats)
        ]
        return _speeds(key, floor, runs, effort, built)


def _speeds(
    key: str, floor: float, runs: list[dict[str, Any]], effort: TaskEffort, built: House
) -> Results:
    middle = sorted(runs, key=lambda run: run["per_second"])[len(runs) // 2]
    details: dict[str, Any] = {
        "repeats": rounded(run["per_second"] for run in runs),
        "cpu_ms_per_task": middle["cpu_ms_per_task"],
        "fdatasync_p50_ms": _disk(effort, built),
    }
    details |= {name: round(middle[name], 3) for name in ("p50_ms", "p99_ms") if name in middle}
    return {key: Result(value=middle["per_second"], bar=floor, is_floor=True, details=details)}


def _disk(effort: TaskEffort, built: House) -> float:
    """The disk's own price in the same minute, the cluster at rest."""
    return round(fdatasync_p50_ms(built.cluster.settings.data, effort.appends), 4)


class TaskMeasurement(NamedTuple):
    """What fills in some keys."""

    keys: tuple[str, ...]
    run: Callable[[TaskEffort], Awaitable[Results]]


MEASUREMENTS = (
    TaskMeasurement(("cold_start_s",), measure_cold_start),
    TaskMeasurement(("submit_sdk_64_per_second",), measure_submit_sdk),
    TaskMeasurement(("submit_http_64_per_second",), measure_submit_http),
    TaskMeasurement(("batch_500_tasks_per_second",), measure_batches),
    TaskMeasurement(("drain_tasks_per_second",), measure_drain),
    TaskMeasurement(("scale_up_ratio",), measure_scale_up),
    TaskMeasurement(("start_p50_ms", "start_p99_ms", "result_p50_ms"), measure_latencies),
)
KEYS = tuple(key for measurement in MEASUREMENTS for key in measurement.keys)
