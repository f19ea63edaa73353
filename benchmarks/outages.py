"""How long the replica is away when something breaks, and whether mere load breaks it.

Times are the worst of all rounds, unless the key says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from statistics import median

from benchmarks.control import OperationFailed, Process
from benchmarks.replica_cluster import NODES, acknowledged, next_prefix, running
from benchmarks.results import Effort, Result, Results, rounded, say, worst_of


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
    details = {"rounds": rounded(took)}
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
    return {"frozen_leader_s": worst_of(took, bar=1.5)}


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
    return {"isolated_leader_s": worst_of(took, bar=1.2)}


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
    assert missed > 200 * effort.away_seconds, f"only {missed} entries missed: it was not isolated"
    details = {"entries_missed": missed, "errors": result["errors"]}
    return {"catch_up_s": Result(value=reached_at - healed_at, bar=3.0, details=details)}


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


async def _must_refuse(process: Process) -> None:
    for op, arguments in (("read", {}), ("propose", {"prefix": next_prefix()})):
        try:
            answer = await process.ask(op, timeout_seconds=0.2, **arguments)
        except OperationFailed:
            continue
        raise AssertionError(f"an isolated node answered a {op}: {json.dumps(answer)}")


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
