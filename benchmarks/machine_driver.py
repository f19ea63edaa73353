"""A machine that is driven as a node drives it: packed entries in, each step timed.

Times are processor time of this thread, so that what else runs on the computer counts for little.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from cluster import codec
from cluster.core.commands import BeginTerm, Command, Complete, Offer, Register, Submit
from cluster.core.machine import Applied, Machine
from cluster.core.model import SLOTS_MAX, NewTask, Policy
from node.collector import Tidier

ENTRY_COMMANDS = 100
ENTRY_MS = 10  # Between two entries, by both clocks.
PAYLOAD_BYTES = 100
LEASE_MS = 10**12  # The worker is never lost, though it says nothing.
RESULT = b"{}"
START_MS = 1_700_000_000_000
WORKER = "worker"

T = TypeVar("T")


class Driver:
    """Applies entries of up to a hundred commands, and knows what each step took."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.index = 0
        self.now_ms = 0
        self.phase = ""
        self._tidier = Tidier()  # As in a node.
        self._untidied_ns = 0
        self._leased: deque[tuple[str, int]] = deque()  # What the worker holds.
        self.taken_ns: Counter[str] = Counter()  # By step.
        self.longest_ns: Counter[str] = Counter()  # By phase and step.
        self.do(BeginTerm("node1", LEASE_MS, LEASE_MS))

    def do(self, *commands: Command[Any]) -> Applied:
        """Apply one entry."""
        packed = [codec.pack_command(command) for command in commands]
        self.index += 1
        self.now_ms += ENTRY_MS
        raw = codec.pack_entry(self.now_ms, START_MS + self.now_ms, [("node1", 1, packed)])
        del packed, commands
        entry = self.timed("decode", lambda: codec.unpack_entry(raw))
        each = [command for group in entry.groups for command in group.commands]
        applied = self.timed(
            "apply",
            lambda: self.machine.apply_entry(
                each,
                index=self.index,
                term=1,
                cluster_time_ms=entry.cluster_time_ms,
                wall_time_ms=entry.wall_time_ms,
            ),
        )
        self.timed("seal", lambda: self._seal(raw, applied))
        self._leased.extend(
            (str(event.task_id), int(event.lease_token or 0))
            for event in applied.events
            if event.kind == "leased"
        )
        self.tidy_at_times()
        return applied

    def tidy_at_times(self) -> None:
        """Let the collector look as often as in a node that does nothing else."""
        if self._untidied_ns >= self._tidier.seconds * 1e9:
            self.timed("tidy", self._tidier.look)
            self._untidied_ns = 0

    def timed(self, step: str, work: Callable[[], T]) -> T:
        """Do *work* as a step of the phase."""
        start = time.thread_time_ns()
        result = work()
        taken = time.thread_time_ns() - start
        self.taken_ns[step] += taken
        self._untidied_ns += taken
        name = f"{self.phase} {step}"
        self.longest_ns[name] = max(self.longest_ns[name], taken)
        return result

    def submit(self, tasks: int, *, policy: Policy | None = None) -> None:
        """Submit so many tasks, each by a command of its own."""
        for batch in in_batches(new_tasks(self.index, tasks, policy or Policy())):
            self.do(*[Submit((task,)) for task in batch])

    def employ(self) -> None:
        """Bring a worker that takes as many tasks as one may, and more whenever it has room."""
        self.do(Register(WORKER, WORKER, ("default",), (), (), SLOTS_MAX, "node1"))
        self.do(Offer(WORKER, 1, SLOTS_MAX, is_standing=True))

    def complete(self) -> int:
        """Complete what the worker was given longest ago; returns how many that were."""
        oldest = [self._leased.popleft() for _ in range(min(ENTRY_COMMANDS, len(self._leased)))]
        if oldest:
            self.do(*[Complete(task_id, token, RESULT, "json") for task_id, token in oldest])
        return len(oldest)

    def _seal(self, raw: bytes, applied: Applied) -> None:
        self.machine.seal(raw, codec.pack_outcome(applied.replies, applied.events))


def new_tasks(seed: int, count: int, policy: Policy) -> Iterator[NewTask]:
    """Tasks that differ in their ids and payloads and are of one kind."""
    rng = random.Random(seed)
    for _ in range(count):
        task_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        payload = rng.randbytes(PAYLOAD_BYTES)
        yield NewTask.of(task_id, "benchmark", payload, "application/json", policy=policy)


def in_batches(items: Iterator[T]) -> Iterator[Sequence[T]]:
    """The items, as many at a time as an entry has commands."""
    while batch := [item for _, item in zip(range(ENTRY_COMMANDS), items, strict=False)]:
        yield batch
