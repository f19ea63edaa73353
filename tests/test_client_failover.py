"""One client, many callers, real nodes that die, freeze and leave: each call has its outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing

import pytest

from gateway import Client, Handle
from node.local import LocalCluster
from tests.conftest import StartCluster

CALLERS = 64
TASKS = 1_000


class Callers:
    """Many who submit through one client, and what came of it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.handles: list[Handle[int]] = []
        self.half_way = asyncio.Event()
        self._numbers = iter(range(TASKS))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._submit())

    async def _submit(self) -> None:
        for number in self._numbers:
            self.handles.append(await self.client.submit("echo", number))
            if len(self.handles) >= TASKS // 2:
                self.half_way.set()


async def asked_first(client: Client, cluster: LocalCluster) -> str:
    """The node that the client is connected to: the first one of its URLs."""
    node_id = (await client.cluster())["node_id"]
    assert cluster.urls[0] == cluster.places[node_id].url
    return str(node_id)


async def until_leased(client: Client, task_id: str) -> None:
    events = client.events(task=task_id, kind="leased", from_oldest=True)
    async with asyncio.timeout(30), aclosing(events):
        await anext(events)


@pytest.mark.parametrize("fault", ["killed", "stopped", "frozen"])
async def test_a_node_that_goes_takes_no_call_along(
    start_cluster: StartCluster, fault: str
) -> None:
    cluster = await start_cluster(nodes=3, workers=0)
    async with Client(cluster.urls) as client:
        node = await asked_first(client, cluster)
        callers = Callers(client)
        running = asyncio.create_task(callers.run())
        await callers.half_way.wait()
        if fault == "killed":
            await cluster.kill(node)
        elif fault == "stopped":
            await cluster.children[node].stop(timeout_seconds=20)
        else:
            cluster.freeze(node)
        await running
        if fault == "frozen":
            cluster.thaw(node)

        submitted = Counter(handle.id for handle in callers.handles)
        listed = Counter([task["id"] async for task in client.tasks()])

    assert len(submitted) == TASKS
    assert listed == submitted


async def test_a_result_is_waited_for_past_the_node_that_was_asked(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster(nodes=3, workers=1)
    async with Client(cluster.urls) as client:
        node = await asked_first(client, cluster)
        handle = await client.submit("sleep", 3)
        waiting = asyncio.create_task(handle.result(timeout=60))
        await until_leased(client, handle.id)
        await cluster.kill(node)

        assert (await waiting)["slept_seconds"] == 3
