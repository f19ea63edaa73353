"""Every path works on any node: three real nodes, each with its gateway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from gateway.client import Client
from gateway.event_source import EventSource
from tests.gateway.conftest import serve_replica

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def urls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[str]]:
    """Where the three gateways answer; the leader's is the first."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(3)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    members = {f"node{n}": address for n, address in enumerate(addresses, start=1)}
    directory = tmp_path_factory.mktemp("nodes")
    replicas = await asyncio.gather(
        *(
            Replica.start(
                ReplicaSettings(node_id=id_, members=members, data=directory / id_, http="")
            )
            for id_ in members
        )
    )
    runners = [await serve_replica(replica) for replica in replicas]
    by_id = {
        replica.node_id: f"http://127.0.0.1:{runner.addresses[0][1]}"
        for replica, runner in zip(replicas, runners, strict=True)
    }
    async with Client(by_id.values()) as client:
        await client.submit("first", 1)  # Answered once there is a leader.
        leader = str((await client.cluster())["leader"])
    yield [by_id.pop(leader), *by_id.values()]
    for runner in runners:
        await runner.cleanup()
    for replica in replicas:
        await replica.stop()


async def call(http: aiohttp.ClientSession, method: str, url: str, **body: object) -> Any:
    """An answer's headers and object."""
    async with http.request(method, url, json=body or None) as answer:
        assert answer.status < 300, await answer.text()
        return answer.headers, await answer.json()


async def test_a_write_on_one_node_is_read_on_every_other(urls: list[str], queue: str) -> None:
    async with aiohttp.ClientSession() as http:
        for writer in urls:
            headers, task = await call(
                http, "POST", f"{writer}/tasks", type="a", data=1, queue=queue
            )
            index = headers["Quorate-Applied-Index"]
            for reader in urls:
                path = f"{reader}/tasks/{task['id']}"
                _, linearizable = await call(http, "GET", path)
                stale = f"{path}?consistency=stale&min_index={index}"
                _, own = await call(http, "GET", stale)
                assert linearizable == own
                assert task == own | {"success": True, "task_id": own["id"]}


async def test_a_worker_may_change_nodes_with_every_call(urls: list[str], queue: str) -> None:
    leader, one, other = urls
    async with aiohttp.ClientSession() as http:
        _, worker = await call(http, "POST", f"{one}/workers", queues=[queue], slots=2)
        worker_id = worker["worker_id"]
        for node in (other, leader, one):
            lease = f"{node}/workers/{worker_id}/lease"
            polling = asyncio.create_task(call(http, "POST", lease, wait=60))
            _, task = await call(http, "POST", f"{other}/tasks", type="a", data=1, queue=queue)
            waiting = asyncio.create_task(call(http, "GET", f"{leader}/tasks/{task['id']}?wait=60"))
            _, leased = await polling
            (given,) = leased["tasks"]
            path = f"{one}/tasks/{given['id']}/complete"
            await call(http, "POST", path, lease_token=given["lease_token"], result="done")
            _, ended = await waiting
            assert (given["id"], ended["result"]) == (task["id"], "done")


async def test_the_same_id_on_two_nodes_at_once_is_one_task(urls: list[str], queue: str) -> None:
    async with Client(urls) as client:
        made = (await client.submit("a", 1, queue=queue)).id
    task_id = made[:-4] + "0000"
    body = {"id": task_id, "type": "a", "data": 1, "queue": queue}

    async with aiohttp.ClientSession() as http:
        answers = await asyncio.gather(
            *(call(http, "POST", f"{url}/tasks", **body) for url in urls * 3)
        )

    assert sum("duplicate" not in task for _, task in answers) == 1


async def test_leases_that_were_lost_with_an_answer_are_given_again_through_another_node(
    urls: list[str],
) -> None:
    first, second, _ = urls
    async with aiohttp.ClientSession() as http:
        _, session = await call(http, "POST", f"{first}/workers", queues=["lost"], slots=2)
        lease = f"/workers/{session['worker_id']}/lease"
        for url in urls[:2]:
            await call(http, "POST", f"{url}/tasks", type="t", data=1, queue="lost")
        _, given = await call(http, "POST", first + lease, max=2, wait=10)

        _, again = await call(http, "POST", second + lease, max=2, wait=60, lease_tokens=[])

    assert len(given["tasks"]) == 2
    assert again["tasks"] == given["tasks"]


async def test_a_reader_of_events_may_change_nodes_after_each_one(
    urls: list[str], queue: str
) -> None:
    async with Client(urls) as client:
        handles = [await client.submit("a", number, queue=queue) for number in range(12)]
        await asyncio.gather(*(handle.cancel() for handle in handles))
    record = await told(urls[0], 24, queue=queue, from_oldest=True)

    hopped: list[dict[str, Any]] = []
    for turn in range(24):
        position = hopped[-1]["position"] if hopped else None
        url = urls[turn % len(urls)]
        hopped += await told(url, 1, after=position, from_oldest=position is None, queue=queue)

    assert hopped == record
    assert Counter(event["kind"] for event in record) == {"submitted": 12, "cancelled": 12}


async def told(url: str, count: int, **options: Any) -> list[dict[str, Any]]:
    """The first events that a node tells, whether it has to wait for them or not."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        async for event in EventSource([url], **options):
            events.append(event)
            if len(events) == count:
                break
    return events
