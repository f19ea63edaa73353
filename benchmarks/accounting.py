"""Measure what the machine's state takes in a process beside what it says that it takes.

    python benchmarks/accounting.py waiting

prints `{"grown_bytes": …, "accounted_bytes": …, "ratio": …}`. Each mix is measured in a process of
its own, through the codec, as a node takes its commands in.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cluster import codec
from cluster.core.commands import Command, Complete, Fail, Offer, Register, Submit
from cluster.core.machine import Machine
from cluster.core.model import SLOTS_MAX, NewTask
from cluster.core.queries import WorkerLeases

BATCH_TASKS = 1_000
PAYLOAD_BYTES = 100
WALL_MS = 1_700_000_000_000
SEED = 1


class Accounted(NamedTuple):
    """What a mix took. The ratio is above 1 where the formula counts too much."""

    grown_bytes: int
    accounted_bytes: int

    @property
    def ratio(self) -> float:
        """What was accounted, for each byte that the process grew."""
        return self.accounted_bytes / self.grown_bytes


class Log:
    """Applies commands to a machine, an entry a call, as a node does."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.random = random.Random(SEED)
        self._index = 0

    def entry(self, *commands: Command[Any]) -> tuple[Any, ...]:
        """One entry; returns the replies."""
        self._index += 1
        packed = [codec.pack_command(command) for command in commands]
        raw = codec.pack_entry(self._index, WALL_MS + self._index, [("n1/a", self._index, packed)])
        entry = codec.unpack_entry(raw)
        return self.machine.apply_entry(
            [command for group in entry.groups for command in group.commands],
            index=self._index,
            term=1,
            cluster_time_ms=entry.cluster_time_ms,
            wall_time_ms=entry.wall_time_ms,
        ).replies

    def submit(self, count: int, **fields: Any) -> None:
        """So many tasks of one kind in one entry."""
        self.entry(Submit(tuple([self._task(**fields) for _ in range(count)])))

    def worker(self, slots: int = SLOTS_MAX) -> str:
        """A worker that takes as many tasks as it has slots; returns its id."""
        worker_id = self._uuid()
        register = Register(worker_id, f"host-{worker_id}", ("default",), (), (), slots, "node1")
        self.entry(register, Offer(worker_id, 1, slots, is_standing=True))
        return worker_id

    def _task(self, payload_bytes: int = PAYLOAD_BYTES, **fields: Any) -> NewTask:
        payload = self.random.randbytes(payload_bytes)
        return NewTask.of(self._uuid(), "images.resize", payload, "application/json", **fields)

    def _uuid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def waiting(log: Log) -> None:
    """A million tasks of 100 bytes that nobody takes."""
    for _ in range(1_000_000 // BATCH_TASKS):
        log.submit(BATCH_TASKS)


def one_by_one(log: Log) -> None:
    """Such tasks, each in an entry of its own."""
    for _ in range(200_000):
        log.submit(1)


def scheduled(log: Log) -> None:
    """Tasks with a delay, a time to live and something noted, each a little different."""
    for number in range(200_000 // BATCH_TASKS):
        meta = (("customer", f"{number:08}"), ("source", "nightly"))
        log.submit(BATCH_TASKS, delay_ms=1_000_000 + number, meta=meta)


def finished(log: Log) -> None:
    """Tasks that were run: most have a result of up to 2,000 bytes, some ended with an error."""
    worker_id = log.worker()
    for _ in range(300_000 // BATCH_TASKS):
        log.submit(BATCH_TASKS)
        leases = log.machine.answer(WorkerLeases(worker_id))
        log.entry(*[_outcome(log.random, lease.task_id, lease.token) for lease in leases])


def busy(log: Log) -> None:
    """Workers by the thousand, each with its hands full."""
    for _ in range(5_000):
        log.worker(slots=20)
    for _ in range(100_000 // BATCH_TASKS):
        log.submit(BATCH_TASKS)


def _outcome(rng: random.Random, task_id: str, token: int) -> Command[Any]:
    if rng.random() < 0.05:
        return Fail(task_id, token, f"ValueError: {'no such picture ' * 12}", retry=False)
    return Complete(task_id, token, rng.randbytes(rng.randrange(2_000)), "application/json")


MIXES: Mapping[str, Callable[[Log], None]] = {
    mix.__name__: mix for mix in (waiting, one_by_one, scheduled, finished, busy)
}


def accounted_ratios(mixes: Mapping[str, object] = MIXES) -> Iterator[tuple[str, Accounted]]:
    """Each mix, measured in a process of its own."""
    for name in mixes:
        done = subprocess.run(
            [sys.executable, __file__, name], check=True, capture_output=True, text=True
        )
        told = json.loads(done.stdout)
        yield name, Accounted(told["grown_bytes"], told["accounted_bytes"])


def main() -> int:
    """Measure one mix in this very process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mix", choices=tuple(MIXES))
    mix = MIXES[parser.parse_args().mix]
    log = Log()
    gc.collect()
    before = _resident_bytes(), _accounted_bytes(log)
    mix(log)
    gc.collect()
    after = _resident_bytes(), _accounted_bytes(log)
    accounted = Accounted(after[0] - before[0], after[1] - before[1])
    print(json.dumps({**accounted._asdict(), "ratio": round(accounted.ratio, 3)}))
    return 0


def _accounted_bytes(log: Log) -> int:
    state = log.machine.state
    return state.bytes_used + state.ring.bytes_used


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
