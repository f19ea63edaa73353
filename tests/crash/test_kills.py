"""SIGKILL at random moments under load, with snapshots all the time: nothing said is taken back.

`QUORATE_TEST_KILLS` says how many; 40 is what a change must pass, 200 a long run.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import pytest

from gateway.client import Client
from node.local import LocalCluster
from node.waiting import wait_until
from tests.conftest import StartCluster
from tests.crash.conftest import SNAPSHOTS_OFTEN, MakeNodes, Report
from tests.crash.ledger import Ledger
from tests.crash.storms import storm

KILLS = int(os.environ.get("QUORATE_TEST_KILLS", "8"))
TASKS = 60  # That the gateways are given around each strike,
BEFORE = 20  # which comes after so many are acknowledged.
DONE_SECONDS = 60.0


async def test_what_was_acknowledged_survives_kills_of_one_of_two_and_of_all(
    make_nodes: MakeNodes, seed: int, report: Report
) -> None:
    nodes = make_nodes(**SNAPSHOTS_OFTEN)
    ledger = Ledger(nodes, seed=seed)
    report(f"QUORATE_TEST_SEED={seed}")
    await nodes.start()

    async def kill(victims: list[str]) -> None:
        await nodes.kill(*victims)

    await storm(ledger, strikes=KILLS, strike=kill)
    await ledger.settle()

    taken = nodes.count_lines(r" snapshot at \d+ took ")
    installed = nodes.count_lines(r" installed a snapshot at ")
    report(f"{KILLS} kills, {taken} snapshots, {installed} installed; {ledger.summary()}")
    assert taken, "no snapshot was taken: the test proves too little"


async def test_what_the_gateways_took_is_done_once_whoever_is_killed(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch, seed: int, report: Report
) -> None:
    """The same with whole nodes, their gateways and workers: the leader, a follower, then all."""
    monkeypatch.setenv("QUORATE_SNAPSHOT_BYTES", "4096")
    dice = random.Random(seed)
    cluster = await start_cluster(nodes=3, workers=2, lease_seconds=6.0)
    names = list(cluster.places)
    task_ids: list[str] = []

    leader = await cluster.wait_ready()
    follower = dice.choice([name for name in names if name != leader])
    for victims in ([leader], [follower], dice.sample(names, len(names))):
        await strike_under_load(cluster, victims, task_ids)

    async with Client(cluster.urls) as client:
        statuses = await ended(client, task_ids)
        health = await client.health()
    assert statuses == {"completed": len(task_ids)}
    assert health["completed_tasks"] == len(set(task_ids))
    logs = [file.read_text() for file in (cluster.settings.data / "logs").glob("node*.log")]
    taken = sum(log.count(" snapshot at ") for log in logs)
    report(f"{len(task_ids)} tasks through 5 kills, {taken} snapshots")
    assert taken, "no snapshot was taken: the test proves too little"


async def strike_under_load(cluster: LocalCluster, victims: list[str], task_ids: list[str]) -> None:
    """Submit through every gateway while nodes are killed and started again."""
    is_under_way = asyncio.Event()
    until = len(task_ids) + BEFORE

    async def submit(number: int) -> None:
        turn = number % len(cluster.urls)
        async with Client((*cluster.urls[turn:], *cluster.urls[:turn])) as client:
            task_ids.append((await client.submit("echo", number)).id)
        if len(task_ids) >= until:
            is_under_way.set()

    async def clients(first: int) -> None:
        for number in range(first, TASKS, 6):
            await submit(number)

    async with asyncio.TaskGroup() as group:
        for first in range(6):
            group.create_task(clients(first))
        await is_under_way.wait()
        await asyncio.gather(*(cluster.kill(name) for name in victims))
        for name in victims:
            await cluster.start_node(name)
    await cluster.wait_ready()


async def ended(client: Client, task_ids: list[str]) -> Counter[str]:
    """How the tasks ended, once all have."""

    async def statuses() -> Counter[str] | None:
        tasks = await asyncio.gather(*(client.task(task_id) for task_id in task_ids))
        found = Counter(str(task["status"]) for task in tasks)
        return found if not found.keys() - {"completed", "failed"} else None

    return await wait_until(statuses, what="all to have ended", timeout_seconds=DONE_SECONDS)
