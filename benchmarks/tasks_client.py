"""The client of the benchmark of whole tasks: a process of its own, steered through its stdin.

It makes its submissions before the clock starts, and keeps so many under way.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.control import serve, settings
from benchmarks.waits import Waits
from gateway import Client, Submission
from gateway.ids import new_id

WAITING = "benchmark.waiting"  # A type that no worker serves.
DATA = "x" * 100

Work = Callable[[], Awaitable[object]]


async def submit_sdk(urls: list[str], *, count: int, outstanding: int) -> dict[str, Any]:
    """Submit *count* tasks that nobody runs, over the client's one connection."""
    async with Client(urls) as client:
        await client.submit(WAITING, DATA)
        return await _timed(
            (lambda: client.submit(WAITING, DATA) for _ in range(count)), outstanding
        )


async def submit_http(urls: list[str], *, count: int, outstanding: int) -> dict[str, Any]:
    """The same over plain HTTP: *outstanding* connections, a POST at a time on each."""
    parts = urlsplit(urls[0])
    free = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(outstanding)]
    head = f"POST /tasks HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    requests = []
    for _ in range(count):
        body = json.dumps({"id": new_id(), "type": WAITING, "data": DATA})
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    async def post(request: bytes) -> None:
        reader, writer = connection = free.pop()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        assert answer.startswith(b"HTTP/1.1 201"), answer
        free.append(connection)

    try:
        return await _timed(
            ((lambda request=request: post(request)) for request in requests), outstanding
        )
    finally:
        for _reader, writer in free:
            writer.close()


async def submit_batches(
    urls: list[str], *, count: int, outstanding: int, tasks: int
) -> dict[str, Any]:
    """Submit *count* batches of *tasks* each."""
    async with Client(urls) as client:
        batches = [[Submission(WAITING, DATA) for _ in range(tasks)] for _ in range(count)]
        return await _timed(
            ((lambda batch=batch: client.submit_many(batch)) for batch in batches), outstanding
        )


async def drain(urls: list[str], *, count: int, queue: str) -> dict[str, Any]:
    """Fill a paused queue, resume it, and wait until all that was in it is completed."""
    async with Client(urls) as client:
        await client.call("pause_queue", {"name": queue})
        for first in range(0, count, 1_000):
            batch = min(1_000, count - first)
            await client.submit_many(
                [Submission("benchmark.noop", None, queue=queue) for _ in range(batch)]
            )
        goal = (await client.health())["completed_tasks"] + count
        start, cpu_start = time.monotonic(), time.process_time()
        await client.call("resume_queue", {"name": queue})
        while (await client.health())["completed_tasks"] < goal:  # noqa: ASYNC110 - Its event is in another process.
            await asyncio.sleep(0.01)
        seconds = time.monotonic() - start
        return {
            "operations": count,
            "seconds": seconds,
            "cpu_seconds": time.process_time() - cpu_start,
            "per_second": count / seconds,
        }


async def sleep(urls: list[str], *, count: int, seconds: float) -> dict[str, Any]:
    """Submit tasks that sleep, and wait for the last; how many each worker ran."""
    async with Client(urls) as client:
        start, cpu_start = time.monotonic(), time.process_time()
        handles = await client.submit_many(
            [Submission("benchmark.sleep", seconds) for _ in range(count)]
        )
        tasks = [await handle.ended(timeout=60) for handle in handles]
        took = time.monotonic() - start
        names = {worker["id"]: worker["name"] for worker in await client.workers()}
    by_worker = Counter(names[task["worker_id"]] for task in tasks)
    return {
        "operations": count,
        "cpu_seconds": time.process_time() - cpu_start,
        "per_second": count / took,
        "by_worker": dict(sorted(by_worker.items())),
    }


async def latencies(urls: list[str], *, count: int, per_second: float) -> dict[str, Any]:
    """Submit on time, and note for each task when its handler began and when its result was here.

    Every task is sent as a user would: submitted, then waited for.
    """
    starts, results, submits = [], [], []
    async with Client(urls) as client:

        async def one() -> None:
            begun = time.monotonic()
            handle = await client.submit("benchmark.stamp", None)
            submits.append(time.monotonic() - begun)
            started = await handle.result(timeout=30)
            results.append(time.monotonic() - begun)
            starts.append(started - begun)

        await one()
        for kept in (starts, results, submits):
            kept.clear()
        gc.freeze()
        cpu_start, begun = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(max(0.0, begun + number / per_second - time.monotonic()))
                group.create_task(one())
        return {
            "operations": count,
            "cpu_seconds": time.process_time() - cpu_start,
            "start_ms": _milliseconds(starts),
            "submit_ms": _milliseconds(submits),
            "result_ms": _milliseconds(results),
        }


async def _timed(work: Iterator[Work], outstanding: int) -> dict[str, Any]:
    """Do all of it, *outstanding* at a time."""
    ready = list(work)
    shared = iter(ready)
    waits = Waits()

    async def run() -> None:
        for each in shared:
            begun = time.perf_counter()
            await each()
            waits.add(time.perf_counter() - begun)

    gc.collect()
    gc.freeze()
    start, cpu_start = time.monotonic(), time.process_time()
    await asyncio.gather(*(run() for _ in range(outstanding)))
    seconds = time.monotonic() - start
    return {
        "operations": len(ready),
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_start,
        "per_second": len(ready) / seconds,
        "p50_ms": waits.percentile_ms(50),
        "p99_ms": waits.percentile_ms(99),
    }


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50": ordered[len(ordered) // 2] * 1e3,
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3,
        "worst": ordered[-1] * 1e3,
    }


if __name__ == "__main__":
    settings()
    uvloop.run(
        serve(
            {
                "submit_sdk": submit_sdk,
                "submit_http": submit_http,
                "submit_batches": submit_batches,
                "drain": drain,
                "latencies": latencies,
                "sleep": sleep,
            }
        )
    )
