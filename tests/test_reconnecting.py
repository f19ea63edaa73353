"""A worker whose node is killed goes on through another one, on real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.ids import new_id
from node.local import LocalCluster
from tests.peers import WAIT_SECONDS, Peer

HEARTBEAT_SECONDS = 20.0  # A third of the lease: nothing here may wait for one.


@pytest.mark.parametrize("is_leader", [True, False], ids=["leader", "follower"])
async def test_a_worker_takes_its_leases_along_and_is_given_what_came_meanwhile(
    start_cluster: Callable[..., Awaitable[LocalCluster]], *, is_leader: bool
) -> None:
    cluster = await start_cluster(nodes=3, workers=0, lease_seconds=3 * HEARTBEAT_SECONDS)
    leader = await cluster.wait_ready()
    follower, other = (name for name in cluster.places if name != leader)
    home = leader if is_leader else follower
    worker = Peer(cluster.places[home].url)
    submitter = Peer(cluster.places[other].url)
    await worker.connect()
    await submitter.connect()
    await worker.register("default", slots=3)
    held = [await submit(submitter) for _ in range(2)]
    await worker.offer(1, 3)
    tokens = [lease["lease_token"] for lease in await worker.leased(2)]

    await cluster.kill(home)
    meanwhile = await submit(submitter)  # Leased to the worker, unless its node is missed already.
    await worker.connection.closed.wait()
    worker.url = cluster.places[other].url
    async with asyncio.timeout(HEARTBEAT_SECONDS / 2):
        await worker.connect()
        await worker.offer(2, 3, lease_tokens=tokens)
        (lease,) = await worker.leased(1)

    tokens.append(lease["lease_token"])
    assert lease["id"] == meanwhile
    for task_id, token in zip([*held, meanwhile], tokens, strict=True):
        done = await worker.call("complete", id=task_id, lease_token=token, result=1)
        task = await submitter.call("task", id=task_id)
        assert (done["status"], task["status"], task["deliveries"]) == ("completed",) * 2 + (1,)
    await worker.connection.close()
    await submitter.connection.close()


async def submit(peer: Peer) -> str:
    """Submit a task, once more if it is not certain that it happened, and return its id."""
    task = {"id": new_id(), "type": "t", "data": 1}
    while True:
        answer = await peer.connection.call("submit", task, timeout_seconds=WAIT_SECONDS)
        if answer.status < 300:
            return str(answer.value["id"])
        assert answer.value["code"] in {"no_quorum", "outcome_unknown"}, answer
