"""The whole house on real processes: what was acknowledged is done, once, whoever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from gateway.caller import Object
from gateway.client import Client
from node.local import LocalCluster
from node.waiting import wait_until

TASKS = 300
CLIENTS = 10
DRAIN_SECONDS = 90.0


async def test_acknowledged_tasks_survive_the_leaders_death_and_complete_once(
    start_cluster: Callable[..., Awaitable[LocalCluster]],
) -> None:
    cluster = await start_cluster(nodes=3, workers=2, lease_seconds=6.0)
    half_done = asyncio.Event()
    task_ids: list[str] = []

    async with asyncio.TaskGroup() as group:
        group.create_task(kill_the_leader(cluster, after=half_done))
        for number in range(CLIENTS):
            group.create_task(submit_in_turn(cluster, number, task_ids, half_done))

    tasks = await all_finished(cluster, task_ids)
    assert Counter(task["status"] for task in tasks) == {"completed": TASKS}
    assert sorted(task["result"] for task in tasks) == list(range(TASKS))

    for name in cluster.places:
        if not cluster.children[name].is_running:
            await cluster.start_node(name)
    await cluster.wait_ready()
    assert await completions(cluster, task_ids) == TASKS
    assert await hashes_at_one_index(cluster) == 1


async def kill_the_leader(cluster: LocalCluster, *, after: asyncio.Event) -> None:
    leader = await cluster.wait_ready()
    await after.wait()
    await cluster.kill(leader)


async def submit_in_turn(
    cluster: LocalCluster, number: int, task_ids: list[str], half_done: asyncio.Event
) -> None:
    """Submit every tenth task to the three nodes in turn; what is appended was acknowledged."""
    for place, value in enumerate(range(number, TASKS, CLIENTS)):
        turn = place % len(cluster.urls)
        urls = (*cluster.urls[turn:], *cluster.urls[:turn])  # Its own node first, else another.
        async with Client(urls) as client:
            task_ids.append((await client.submit("echo", value)).id)
        if len(task_ids) >= TASKS // 2:
            half_done.set()


async def all_finished(cluster: LocalCluster, task_ids: list[str]) -> list[Object]:
    async with Client(cluster.urls) as client:

        async def finished() -> list[Object] | None:
            tasks = [task async for task in client.tasks()]
            of_ours = [task for task in tasks if task["id"] in set(task_ids)]
            assert len(of_ours) == len(task_ids), "an acknowledged task is gone"
            are_done = all(task["status"] in {"completed", "failed"} for task in of_ours)
            return of_ours if are_done else None

        return await wait_until(
            finished, what="every task to be finished", timeout_seconds=DRAIN_SECONDS
        )


async def completions(cluster: LocalCluster, task_ids: list[str]) -> int:
    """How many completions were ever accepted: more than tasks would mean one was taken twice."""
    assert len(set(task_ids)) == len(task_ids)
    async with Client(cluster.urls) as client:
        completed: int = (await client.health())["completed_tasks"]
        return completed


async def hashes_at_one_index(cluster: LocalCluster) -> int:
    """How many different states the nodes have, once all have applied the same index."""

    async def hashes() -> set[str] | None:
        views = [await cluster.view(name) for name in cluster.places]
        known = [view for view in views if view is not None]
        are_level = len({view["applied_index"] for view in known}) == 1
        return {view["state_hash"] for view in known} if len(known) == 3 and are_level else None

    return len(await wait_until(hashes, what="three nodes at one index", timeout_seconds=30))
