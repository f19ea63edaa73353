"""A million tasks in one machine: what they weigh, and the longest that any one call takes."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine_driver import ENTRY_COMMANDS, PAYLOAD_BYTES, Driver
from benchmarks.results import Result, Results, say
from cluster import codec
from cluster.core.commands import Tick
from cluster.core.machine import Machine
from cluster.core.model import Policy
from cluster.core.queries import Count
from cluster.core.queue_commands import PurgeQueue

TASK_BYTES_MAX = 600
PAUSE_MS_MAX = 50.0
ACCOUNTED_ERROR_MAX = 0.15
SNAPSHOT_SECONDS_MAX = 5.0
TTL_MS = 3_600_000
LENGTH_BYTES = 4
_GONE = object()


class Saved(NamedTuple):
    """A snapshot that a child wrote."""

    cpu_seconds: float
    seconds: float
    size_bytes: int


def measure_million(tasks: int) -> Results:
    """Take *tasks* through all that may happen to many at once, timing every call."""
    driver = Driver()
    before = _resident_bytes()
    _begin(driver, "submit")
    driver.submit(tasks)
    grown = _resident_bytes() - before
    accounted = driver.machine.state.bytes_used

    with tempfile.TemporaryDirectory() as directory:
        _begin(driver, "snapshot")
        file = Path(directory) / "snapshot"
        saved = _save(driver, file)
        load_seconds = _load(driver, file)
    _begin(driver, "drain")
    driver.employ()
    while driver.complete():
        pass
    _begin(driver, "remove at once")
    _let_pass(driver, Policy().retention_ms)
    _begin(driver, "submit again")
    driver.submit(tasks, policy=Policy(ttl_ms=TTL_MS, retention_ms=0))
    _begin(driver, "expire at once")
    _let_pass(driver, TTL_MS)
    _begin(driver, "submit once more")
    driver.submit(tasks)
    _begin(driver, "purge")
    driver.do(PurgeQueue("purge", "default"))
    _let_pass(driver, 0)
    return {
        "bytes_per_task": Result(value=grown / tasks - PAYLOAD_BYTES, bar=TASK_BYTES_MAX),
        "accounted_error": Result(
            value=abs(accounted / grown - 1),
            bar=ACCOUNTED_ERROR_MAX,
            details={"grown_bytes": grown, "accounted_bytes": accounted},
        ),
        "longest_pause_ms": _longest(driver),
        "snapshot_s": Result(
            value=saved.cpu_seconds,
            bar=SNAPSHOT_SECONDS_MAX,
            details={"wall_s": round(saved.seconds, 2), "size_bytes": saved.size_bytes},
        ),
        "load_s": Result(value=load_seconds),
    }


def _begin(driver: Driver, phase: str) -> None:
    say(phase)
    driver.phase = phase


def _let_pass(driver: Driver, ms: int) -> None:
    """Let the clocks pass, and tick until nothing is left to do."""
    driver.now_ms += ms
    while driver.do(Tick()).events:
        pass


def _save(driver: Driver, file: Path) -> Saved:
    """Write a snapshot in a child, while the parent goes on."""
    start = time.monotonic()
    child = driver.timed("fork", os.fork)
    if child == 0:
        _write(driver.machine, file)
        os._exit(0)
    while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
        driver.submit(ENTRY_COMMANDS)  # Each page that changes meanwhile is copied.
    _, status, usage = ended
    assert status == 0, f"the child ended with status {status}"
    return Saved(usage.ru_utime + usage.ru_stime, time.monotonic() - start, file.stat().st_size)


def _write(machine: Machine, file: Path) -> None:
    with file.open("wb") as out:
        for section in codec.dump_machine(machine):
            out.write(len(section).to_bytes(LENGTH_BYTES))
            out.write(section)
        out.flush()
        os.fsync(out.fileno())


def _load(driver: Driver, file: Path) -> float:
    """Build the machine of a snapshot, go on with it; returns the seconds without reading it."""
    loader = codec.MachineLoader()
    seconds_before = driver.taken_ns["load"]
    with file.open("rb") as source:
        while length := int.from_bytes(source.read(LENGTH_BYTES)):
            section = source.read(length)
            driver.timed("load", lambda section=section: loader.feed(section))  # type: ignore[misc]
            driver.tidy_at_times()
    loaded = loader.finish()
    assert loaded.answer(Count()).by_status, "the machine is whole"
    remains = driver.timed("replace", lambda: driver.machine.become(loaded))
    is_left = True
    while is_left:
        is_left = driver.timed("let go", lambda: next(remains, _GONE) is not _GONE)
    return (driver.taken_ns["load"] - seconds_before) / 1e9


def _longest(driver: Driver) -> Result:
    by_step = {step: round(ns / 1e6, 2) for step, ns in driver.longest_ns.most_common()}
    return Result(value=max(by_step.values()), bar=PAUSE_MS_MAX, details={"by_step": by_step})


def _resident_bytes() -> int:
    """What of this process is in memory: the second number of /proc/self/statm, in pages."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
