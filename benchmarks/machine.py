"""Measure the machine: one process, no log and no network, entries as a node applies them.

    python benchmarks/machine.py --json
    python benchmarks/machine.py --only apply_us_per_task --quick

See README.md beside this file for what each key means. JSON is all that stdout gets; exit status 0
if every bar that was measured is met, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks.machine_pauses import measure_million
from benchmarks.machine_speed import measure_speed
from benchmarks.results import Results, say
from cluster import compiled, core

MEASUREMENTS: tuple[tuple[tuple[str, ...], Callable[[int], Results]], ...] = (
    (("apply_us_per_task", "apply_growth"), measure_speed),
    (
        ("bytes_per_task", "accounted_error", "longest_pause_ms", "snapshot_s", "load_s"),
        measure_million,
    ),
)
KEYS = tuple(key for keys, _ in MEASUREMENTS for key in keys)
TASKS = 1_000_000
QUICK_TASKS = 20_000
REFERENCE_STEPS = 1_000_000


def main() -> int:
    """Parse the command line, measure, print."""
    options = _parse()
    tasks = QUICK_TASKS if options.quick else TASKS
    load_before = os.getloadavg()
    results: dict[str, dict[str, Any]] = {}
    for keys, measure in MEASUREMENTS:
        if set(keys) & set(options.only or KEYS):
            results |= _run(measure, tasks)
    report = {
        "met": all(result.get("met", True) for result in results.values()),
        "results": {"machine": results},
        "conditions": {
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "machine": "compiled" if compiled.available(core) else "interpreted",
            "kernel": platform.release(),
            "load_average_before": load_before[0],
        },
    }
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if report["met"] else 1


def _run(measure: Callable[[int], Results], tasks: int) -> dict[str, dict[str, Any]]:
    """Measure in a fresh process, so that one's memory is no part of the other's."""
    before_ms = reference_ms()
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        results = pool.submit(measure, tasks).result()
    reference = {"reference_ms": [round(before_ms, 1), round(reference_ms(), 1)]}
    reports = {key: result.report() | reference for key, result in results.items()}
    for key, shown in reports.items():
        say(f"  {key}: {json.dumps(shown)}")
    return reports


def reference_ms() -> float:
    """Processor time of a fixed loop: says how fast the processor was just then."""
    start = time.process_time()
    table: dict[int, int] = {}
    for step in range(REFERENCE_STEPS):
        table[step & 1023] = table.get((step * 7) & 1023, 0) + step
    return (time.process_time() - start) * 1e3


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one line, for programs")
    parser.add_argument("--only", nargs="+", metavar="KEY", choices=KEYS, help=", ".join(KEYS))
    parser.add_argument("--quick", action="store_true", help="only whether it runs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
