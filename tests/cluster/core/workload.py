"""A seeded log that meets most of what can happen: for replays, here and in the benchmarks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from cluster import codec
from cluster.core.commands import (
    BeginTerm,
    Cancel,
    Command,
    Complete,
    Drain,
    Fail,
    Heartbeat,
    Leave,
    Offer,
    RaiseVersion,
    Register,
    Release,
    Report,
    Resume,
    Retry,
    Submit,
    Suspend,
    Tick,
)
from cluster.core.machine import Machine
from cluster.core.model import Backoff, Idempotency, NewTask, Policy
from cluster.core.queries import ListWorkers, WorkerLeases
from cluster.core.queue_commands import (
    PauseQueue,
    PurgeQueue,
    RemoveDead,
    ResumeQueue,
    RetryDead,
)

QUEUES = ("default", "images")
TYPES = ("resize", "mail", "sum")
TAGS = ("gpu", "ssd")
NODES = ("node1", "node2")
WALL_MS = 1_700_000_000_000


def entries(rng: random.Random, count: int) -> Iterator[bytes]:
    """Packed entries, drawn beside a machine of their own that knows what could be done."""
    machine = Machine()
    cluster_ms = 0
    for index in range(1, count + 1):
        cluster_ms += rng.choice((0, 1, 50, 400, 3_000))
        commands = [draw(rng, index, machine) for _ in range(rng.randint(1, 6))]
        times = {"cluster_time_ms": cluster_ms, "wall_time_ms": WALL_MS + cluster_ms}
        machine.apply_entry(commands, index=index, term=1, **times)
        packed = [codec.pack_command(command) for command in commands]
        yield codec.pack_entry(cluster_ms, WALL_MS + cluster_ms, [("node1", index, packed)])


def draw(rng: random.Random, index: int, machine: Machine) -> Command[Any]:
    """One command, mostly about tasks, workers and leases that are there."""
    worker_id = f"worker{rng.randint(index // 40, index // 40 + 3)}"
    held = [lease.token for lease in machine.answer(WorkerLeases(worker_id))]
    tokens = (*(token for token in held if rng.random() < 0.9), index)
    leases = [
        (lease.task_id, lease.token)
        for worker in machine.answer(ListWorkers()).workers
        for lease in machine.answer(WorkerLeases(worker.id))
    ]
    stale = (f"task{rng.randint(max(0, index - 25), index)}", rng.randint(1, index))
    task_id, token = rng.choice([*leases, stale, stale, stale])
    node = rng.choice(NODES)
    draws: tuple[tuple[int, Command[Any]], ...] = (
        (30, Submit(tuple(new_task(rng, index + n) for n in range(rng.randint(1, 3))))),
        (14, register(rng, worker_id)),
        (20, Offer(worker_id, index, rng.randint(0, 4), rng.random() < 0.6)),
        (10, Heartbeat(worker_id, tokens, node)),
        (1, Drain(worker_id)),
        (1, Leave(worker_id)),
        (12, Complete(task_id, token, b"result")),
        (12, Fail(task_id, token, "broken", rng.random() < 0.9)),
        (5, Release(task_id, token)),
        (8, Report(task_id, token, bytes([index % 256]))),
        (6, Cancel(task_id)),
        (4, Retry(task_id)),
        (2, PauseQueue(rng.choice(QUEUES))),
        (6, ResumeQueue(rng.choice(QUEUES))),
        (1, PurgeQueue(f"purge{index // 20}", rng.choice(QUEUES))),
        (2, RetryDead(f"retry{index}", rng.choice((None, *QUEUES)), rng.choice((None, *TYPES)))),
        (1, RemoveDead(task_id)),
        (1, BeginTerm("node1", memory_bytes_max=rng.choice((None, 120_000, 1 << 30)))),
        (3, Suspend(node)),
        (3, Resume(node)),
        (1, RaiseVersion(rng.choice((1, 2)))),
        (5, Tick()),
    )
    weights = [weight for weight, _ in draws]
    return rng.choices([command for _, command in draws], weights)[0]


def register(rng: random.Random, worker_id: str) -> Register:
    types = rng.choice(((), ("resize",), ("mail", "sum")))
    tags = rng.choice(((), ("gpu",), TAGS))
    return Register(worker_id, worker_id, QUEUES, types, tags, rng.randint(1, 4), rng.choice(NODES))


def new_task(rng: random.Random, number: int) -> NewTask:
    policy = Policy(
        max_attempts=rng.randint(1, 3),
        backoff=Backoff(initial_ms=rng.choice((100, 2_000))),
        timeout_ms=rng.choice((None, None, 2_000)),
        ttl_ms=rng.choice((None, None, 5_000)),
        retention_ms=rng.choice((0, 10_000, 86_400_000)),
    )
    return NewTask.of(
        f"task{number}",
        rng.choice(TYPES),
        b"{}",
        "application/json",
        queue=rng.choice(QUEUES),
        priority=rng.randint(0, 9),
        delay_ms=rng.choice((0, 0, 0, 1_000)),
        policy=policy,
        requires=rng.choice(((), (), ("gpu",))),
        idempotency=rng.choice((None, None, None, Idempotency(f"key{number // 5}", b"body"))),
    )
