"""Load on one node, made inside it: commands, and proposers that wait for each reply.

A fixed number of commands is made before the clock starts, so that making them costs nothing; load
for a length of time makes them as it goes.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from benchmarks.waits import Waits
from cluster.core.commands import Submit
from cluster.core.model import NewTask, Policy
from cluster.errors import QuorateError

KEPT = Policy()
RECYCLED = Policy(ttl_ms=2_000, retention_ms=1_000)  # Such tasks are gone within seconds.

Propose = Callable[[Submit], Awaitable[object]]


def make_commands(
    prefix: int, *, tasks: int, payload_bytes: int, is_recycled: bool
) -> Iterator[Submit]:
    """Submissions without end, of *tasks* new tasks each; prefixes keep their ids apart."""
    payload = bytes(payload_bytes)
    policy = RECYCLED if is_recycled else KEPT
    for number in itertools.count():
        yield Submit(
            tuple(
                NewTask.of(
                    f"{number:08x}-{task:04x}-7000-8000-{prefix:012x}",
                    "benchmark",
                    payload,
                    "application/octet-stream",
                    policy=policy,
                )
                for task in range(tasks)
            )
        )


class Load:
    """Proposers that each have one command under way; they end together."""

    def __init__(self, propose: Propose, *, stop: asyncio.Event) -> None:
        self._propose = propose
        self._stop = stop
        self._waits = Waits()
        self._errors: Counter[str] = Counter()

    async def run(
        self,
        commands: Iterator[Submit],
        *,
        proposers: int,
        count: int | None = None,
        per_second: float | None = None,
    ) -> dict[str, Any]:
        """Propose *count* commands, or until stopped; paced to *per_second*, or as fast as it goes.

        Returns:
            How many, in how many seconds, at how much processor time of this process; median and
            99th percentile of the waits; errors by kind.
        """
        source: Iterable[Submit] = commands
        if count is not None:
            source = list(itertools.islice(commands, count))
            gc.freeze()  # What is only waiting to be proposed is no part of what is measured.
        start, cpu_start = time.monotonic(), time.process_time()
        shared = iter(source)
        if per_second is not None:
            await self._run_paced(shared, per_second)
        else:
            await asyncio.gather(*(self._run_proposer(shared) for _ in range(proposers)))
        seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
        waits = self._waits
        return {
            "operations": waits.count,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "per_second": waits.count / seconds,
            "p50_ms": waits.percentile_ms(50),
            "p99_ms": waits.percentile_ms(99),
            "errors": dict(self._errors),
        }

    async def _run_proposer(self, source: Iterator[Submit]) -> None:
        for command in source:
            await self._run_one(command)
            if self._stop.is_set():
                return

    async def _run_paced(self, source: Iterator[Submit], per_second: float) -> None:
        """Propose on time, whether earlier commands have been answered or not."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, command in enumerate(source):
                wait = start + number / per_second - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                if self._stop.is_set():
                    return
                group.create_task(self._run_one(command))

    async def _run_one(self, command: Submit) -> None:
        start = time.perf_counter()
        try:
            await self._propose(command)
        except QuorateError as error:
            self._errors[type(error).__name__] += 1
        else:
            self._waits.add(time.perf_counter() - start)
