"""The bar beside the bars: pysyncobj alone, as its README uses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.control import Process
from benchmarks.replica_cluster import HOST, NODES, free_ports, scratch_directory
from benchmarks.results import Effort, Result, Results

PAYLOAD_BYTES = 100
STOCK_KEYS = ("stock_single_p50_ms", "stock_outstanding_100_per_second")


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


async def _stock_leader(processes: dict[str, Process]) -> str:
    async with asyncio.timeout(30):
        while True:
            views = [await process.ask("status") for process in processes.values()]
            leaders = {view["leader"] for view in views}
            if all(view["is_ready"] for view in views) and len(leaders) == 1:
                return str(leaders.pop())
            await asyncio.sleep(0.1)
