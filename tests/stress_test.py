"""A stress test for people: 1,000 tasks from 20 threads, and what came of them.

    python tests/stress_test.py [--url http://localhost:5000] [--tasks 1000] [--threads 20]

Needs a running cluster (`make demo`), or starts one of its own with --cluster. Only the standard
library talks to it: what this does, any program in any language can do.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FINAL = {"completed", "failed", "cancelled", "expired"}
FINISH_SECONDS = 120.0


class Connection:
    """One thread's connection to one gateway, kept open between calls."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._http = http.client.HTTPConnection(
            parts.hostname or "localhost", parts.port, timeout=70
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask, and return the answer's object; an answer that is an error is raised."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content else {}
        self._http.request(method, path, body=content, headers=headers)
        answer = self._http.getresponse()
        value = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {value.get('error')}")
        return value


class Stress:
    """Submits from many threads and notes how long each answer took."""

    def __init__(self, urls: list[str], tasks: int) -> None:
        self._urls = urls
        self._numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(tasks):
            self._numbers.put(number)
        self.task_ids: list[str] = []
        self.latencies_ms: list[float] = []
        self.errors: list[str] = []

    def submit(self, threads: int) -> float:
        """Submit everything and return the seconds it took."""
        started = time.perf_counter()
        workers = [
            threading.Thread(target=self._submit_some, args=(self._urls[place % len(self._urls)],))
            for place in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - started

    def finish(self) -> tuple[Counter[str], float]:
        """Wait for every task's end; return how they ended, and the seconds it took."""
        started = time.perf_counter()
        connection = Connection(self._urls[0])
        ends: Counter[str] = Counter()
        for task_id in self.task_ids:
            status = "pending"
            while status not in FINAL and time.perf_counter() - started < FINISH_SECONDS:
                status = connection.call("GET", f"/tasks/{task_id}?wait=10")["status"]
            ends[status] += 1
        return ends, time.perf_counter() - started

    def _submit_some(self, url: str) -> None:
        connection = Connection(url)
        while True:
            try:
                number = self._numbers.get_nowait()
            except queue.Empty:
                return
            kind, data = ("process", f"Task {number}") if number % 2 else ("calculate", number)
            started = time.perf_counter()
            try:
                answer = connection.call("POST", "/tasks", {"type": kind, "data": data})
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                self.errors.append(str(error))
                connection = Connection(url)
                continue
            self.latencies_ms.append((time.perf_counter() - started) * 1000)
            self.task_ids.append(answer["task_id"])


def report(stress: Stress, submit_seconds: float, ends: Counter[str], wait_seconds: float) -> bool:
    """Print the report; return whether every task was submitted and completed."""
    submitted = len(stress.task_ids)
    total_seconds = submit_seconds + wait_seconds
    latencies = sorted(stress.latencies_ms) or [0.0]

    def percentile(share: float) -> float:
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))]

    print(f"Submitted          {submitted} tasks in {submit_seconds:.2f} s")
    print(f"Submit throughput  {submitted / submit_seconds:.0f} tasks/s")
    print(
        f"Submit latency     p50 {percentile(0.5):.1f} ms, p99 {percentile(0.99):.1f} ms,"
        f" worst {latencies[-1]:.1f} ms"
    )
    print(f"Ended              {', '.join(f'{n} {status}' for status, n in ends.items())}")
    print(f"Total throughput   {ends['completed'] / total_seconds:.0f} completed tasks/s")
    print(f"Errors             {len(stress.errors)}")
    for message, count in Counter(stress.errors).most_common(5):
        print(f"  {count} x {message}")
    return not stress.errors and ends["completed"] == submitted


@contextlib.contextmanager
def own_cluster() -> Iterator[list[str]]:
    """Run three nodes and three workers as long as the context lasts; give their URLs."""
    quorate = Path(sys.executable).with_name("quorate")
    command = [str(quorate), "up", "--nodes", "3", "--workers", "3", "--port", "5000", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            events = (json.loads(line) for line in process.stdout)
            ready = next((event for event in events if event["event"] == "ready"), None)
            if ready is None:
                raise RuntimeError("the cluster did not start; its last lines are above")
            # Whatever the cluster writes must be read, or it would wait for us.
            threading.Thread(target=lambda: list(events), daemon=True).start()
            yield ready["urls"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def main() -> int:
    """Run as the options say; exit status 0 when everything was completed."""
    parser = argparse.ArgumentParser(description="1,000 tasks from 20 threads, with a report.")
    parser.add_argument("--url", default="http://localhost:5000", help="comma-separated gateways")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=20)
    parser.add_argument("--cluster", action="store_true", help="start a cluster for this")
    options = parser.parse_args()

    with (
        own_cluster() if options.cluster else contextlib.nullcontext(options.url.split(",")) as urls
    ):
        try:
            Connection(urls[0]).call("GET", "/health")
        except OSError as error:
            print(f"No cluster answers at {urls[0]} ({error}): start one with `make demo`.")
            return 1
        stress = Stress(urls, options.tasks)
        submit_seconds = stress.submit(options.threads)
        ends, wait_seconds = stress.finish()
        return 0 if report(stress, submit_seconds, ends, wait_seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
