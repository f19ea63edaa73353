"""Measure whole tasks: through the gateway, the log and the workers, and back to the client.

    python benchmarks/tasks.py --json
    python benchmarks/tasks.py --only submit_sdk_64_per_second start_p50_ms

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
from typing import Any

import uvloop

from benchmarks.results import Results, say
from benchmarks.tasks_measures import KEYS, MEASUREMENTS, QUICK, TaskEffort
from cluster import compiled, core

SECONDS_MAX = 600.0  # One measurement that takes longer hangs.


def main() -> int:
    """Parse the command line, measure, print."""
    options = _parse()
    effort = QUICK if options.quick else TaskEffort()
    if options.repeats is not None:
        effort = replace(effort, repeats=options.repeats)
    report = uvloop.run(_measure(frozenset(options.only or KEYS), effort))
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if report["met"] else 1


async def _measure(keys: frozenset[str], effort: TaskEffort) -> dict[str, Any]:
    load_before = os.getloadavg()[0]
    results: Results = {}
    for measurement in MEASUREMENTS:
        if not keys.intersection(measurement.keys):
            continue
        say(", ".join(measurement.keys))
        start = time.monotonic()
        async with asyncio.timeout(SECONDS_MAX):
            found = await measurement.run(effort)
        results |= {key: result for key, result in found.items() if key in keys}
        for key in keys.intersection(found):
            say(f"  {key}: {json.dumps(found[key].report())}")
        say(f"  took {time.monotonic() - start:.0f} s")
    shown = {key: result.report() for key, result in results.items()}
    return {
        "met": all(result.get("met", True) for result in shown.values()),
        "results": shown,
        "conditions": {
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "machine": "compiled" if compiled.available(core) else "interpreted",
            "kernel": platform.release(),
            "load_average_before": load_before,
        },
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one line, for programs")
    parser.add_argument("--only", nargs="+", metavar="KEY", choices=KEYS, help=", ".join(KEYS))
    parser.add_argument("--repeats", type=int, help="of each measurement (3)")
    parser.add_argument("--quick", action="store_true", help="only whether it runs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
