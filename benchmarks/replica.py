"""Measure the replica: three processes, every sync on, the real machine and one that does nothing.

    python benchmarks/replica.py --json
    python benchmarks/replica.py --only single_p50_ms outstanding_100_per_second --machine noop

See README.md beside this file for what each key means. JSON is all that stdout gets; exit status 0
if every bar that was measured is met, 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.measures import MEASUREMENTS
from benchmarks.results import QUICK, Effort, Measurement, Results, say
from benchmarks.stock import STOCK_KEYS, measure_stock
from cluster import compiled, core

MACHINES = ("noop", "real")
SECONDS_MAX = 600.0  # One measurement that takes longer hangs.
KEYS = tuple(key for measurement in MEASUREMENTS for key in measurement.keys) + STOCK_KEYS


def main() -> int:
    """Parse the command line, measure, print."""
    options = _parse()
    effort = QUICK if options.quick else Effort()
    if options.minutes is not None:
        effort = replace(effort, minutes=options.minutes)
    if options.repeats is not None:
        effort = replace(effort, repeats=options.repeats)
    effort = replace(effort, profile=options.profile)
    machines = MACHINES if options.machine == "both" else (options.machine,)
    keys = frozenset(options.only or KEYS)

    report = uvloop.run(_measure(machines, keys, effort))
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if report["met"] else 1


async def _measure(
    machines: tuple[str, ...], keys: frozenset[str], effort: Effort
) -> dict[str, Any]:
    load_before = os.getloadavg()
    results: dict[str, Results] = {machine: {} for machine in machines}
    # The machines take turns key by key: what is noise to one is, mostly, noise to the other.
    for measurement in MEASUREMENTS:
        for machine in machines:
            if keys.intersection(measurement.keys):
                results[machine] |= await _run(measurement, machine, keys, effort)
    if keys.intersection(STOCK_KEYS):
        say("stock pysyncobj")
        results["stock"] = await measure_stock(effort)
    shown = {
        name: {key: result.report() for key, result in found.items()}
        for name, found in results.items()
    }
    return {
        "met": all(key.get("met", True) for found in shown.values() for key in found.values()),
        "results": shown,
        "conditions": {
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "machine": "compiled" if compiled.available(core) else "interpreted",
            "kernel": platform.release(),
            "load_average_before": load_before[0],
        },
    }


async def _run(
    measurement: Measurement, machine: str, keys: frozenset[str], effort: Effort
) -> Results:
    start = time.monotonic()
    say(f"{', '.join(measurement.keys)} ({machine})")
    async with asyncio.timeout(SECONDS_MAX + effort.minutes * 60):
        results = await measurement.run(machine, effort)
    # The disk's price goes with whatever was measured against it.
    kept = {key: found for key, found in results.items() if key in keys | {"fdatasync_p50_ms"}}
    for key, result in kept.items():
        say(f"  {key}: {json.dumps(result.report())}")
    say(f"  took {time.monotonic() - start:.0f} s")
    return kept


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one line, for programs")
    parser.add_argument("--only", nargs="+", metavar="KEY", choices=KEYS, help=", ".join(KEYS))
    parser.add_argument("--machine", choices=(*MACHINES, "both"), default="both")
    parser.add_argument("--minutes", type=float, help="of load without an election (10)")
    parser.add_argument("--repeats", type=int, help="of each speed (5)")
    parser.add_argument("--quick", action="store_true", help="only whether it runs")
    parser.add_argument("--profile", type=Path, metavar="DIRECTORY", help="write cProfile's files")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
