"""Measure what Python's collector costs a loop that takes in a million tasks and then loads them.

    python benchmarks/collector.py            # as a node's process has it, then as Python has it
    python benchmarks/collector.py --tasks 100000

Two figures each, in milliseconds: the longest collection by processor time, which other programs do
not disturb, and the longest gap between two turns of the loop by the clock. One line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from contextlib import nullcontext

from benchmarks.load import make_commands
from cluster import codec
from cluster.core.machine import Machine
from node.collector import tidied

_PAUSE_SECONDS = 0.001


async def measure(tasks: int, *, is_tidied: bool) -> dict[str, float]:
    """Submit *tasks* a thousand at a time, dump them, load them, all on the running loop."""
    longest: dict[str, float] = {"collection_cpu_ms": 0.0, "gap_ms": 0.0}
    started = 0.0

    def collects(phase: str, _info: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = time.process_time()
        else:
            took = (time.process_time() - started) * 1e3
            longest["collection_cpu_ms"] = max(longest["collection_cpu_ms"], took)

    with tidied() if is_tidied else nullcontext():
        gc.callbacks.append(collects)
        watching = asyncio.create_task(_watch_gaps(longest))
        machine = Machine()
        commands = make_commands(1, tasks=1_000, payload_bytes=100, is_recycled=False)
        for index in range(1, tasks // 1_000 + 1):
            machine.apply_entry(
                codec.unpack_commands([codec.pack_command(next(commands))]),
                index=index,
                term=1,
                cluster_time_ms=index,
                wall_time_ms=index,
            )
            await asyncio.sleep(0)
        loader = codec.MachineLoader()
        for section in codec.dump_machine(machine):
            loader.feed(section)
            await asyncio.sleep(0)
        copy = loader.finish()
        watching.cancel()
        gc.callbacks.remove(collects)
    assert len(copy.state.spaces["default"].tasks) == tasks // 1_000 * 1_000
    return {name: round(value, 1) for name, value in longest.items()}


async def _watch_gaps(longest: dict[str, float]) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(_PAUSE_SECONDS)
        gap = (time.monotonic() - before - _PAUSE_SECONDS) * 1e3
        longest["gap_ms"] = max(longest["gap_ms"], gap)


def main() -> None:
    """Measure each way in a process of its own, or the one that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("tidied", "python"))
    options = parser.parse_args()
    if options.only:
        is_tidied = options.only == "tidied"
        print(json.dumps(asyncio.run(measure(options.tasks, is_tidied=is_tidied))))
        return
    found = {}
    for way in ("tidied", "python"):
        arguments = [sys.executable, __file__, "--only", way, "--tasks", str(options.tasks)]
        found[way] = json.loads(subprocess.run(arguments, capture_output=True, check=True).stdout)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
