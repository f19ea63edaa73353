"""One node of stock pysyncobj, as its README shows it: the reference, measured in the same minute.

A `SyncObj` with a replicated method, ticking on its own thread, its journal in a file that it never
syncs. What it acknowledges can be lost (docs/raft.md); it is here for its speed alone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

from benchmarks.control import serve, settings


class Counter(SyncObj):
    """The README's example, with a payload."""

    def __init__(self, address: str, partners: list[str], journal: str) -> None:
        super().__init__(address, partners, SyncObjConf(journalFile=journal))
        self.__counter = 0

    @replicated
    def add(self, payload: bytes) -> int:  # noqa: ARG002 - carried, not used.
        """Count one command."""
        self.__counter += 1
        return self.__counter


class Node:
    """What the driver may ask of a node: every public method is an operation."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def status(self) -> dict[str, Any]:
        """Whether it is ready, and whom it takes for the leader."""
        leader = self._counter._getLeader()
        return {
            "is_ready": self._counter.isReady(),
            "leader": None if leader is None else leader.address,
        }

    async def load(self, *, count: int, proposers: int, payload_bytes: int) -> dict[str, Any]:
        """Propose *count* commands, *proposers* at a time."""
        return await asyncio.to_thread(self._load, count, proposers, bytes(payload_bytes))

    def _load(self, count: int, proposers: int, payload: bytes) -> dict[str, Any]:
        waits: list[float] = []
        failures = 0
        lock = threading.Lock()
        left = iter(range(count - proposers))
        running = threading.Semaphore(0)

        def propose() -> None:
            start = time.perf_counter()

            def answered(_result: Any, error: int) -> None:  # On pysyncobj's thread.
                nonlocal failures
                with lock:
                    if error:
                        failures += 1
                    else:
                        waits.append(time.perf_counter() - start)
                    has_more = next(left, None) is not None
                if has_more:
                    propose()
                else:
                    running.release()

            self._counter.add(payload, callback=answered)

        start = time.monotonic()
        for _ in range(proposers):
            propose()
        for _ in range(proposers):
            running.acquire()
        seconds = time.monotonic() - start
        waits.sort()
        return {
            "operations": len(waits),
            "per_second": len(waits) / seconds,
            "p50_ms": waits[len(waits) // 2] * 1e3 if waits else None,
            "errors": failures,
        }


async def main() -> None:
    """Start the node that the settings describe, and do what it is asked."""
    wanted = settings()
    counter = Counter(wanted["address"], wanted["partners"], wanted["journal"])
    node = Node(counter)
    await serve({"status": node.status, "load": node.load})
    counter.destroy()


if __name__ == "__main__":
    asyncio.run(main())
