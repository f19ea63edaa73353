"""The cluster of docker-compose.yml, on Docker's engine: every fault bites, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from chaos.history import Type
from chaos.targets.contract import Unsupported, alone, deaf
from gateway.client import Client
from node.waiting import wait_until
from tests.docker.conftest import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEPOSED_SECONDS = 2.0


async def test_a_task_submitted_to_any_node_is_completed(cluster: Cluster) -> None:
    rows = [
        await cluster.submit(node, type="echo", data={"from": node})
        for node in cluster.target.nodes
    ]

    results = [await cluster.result(row.value["id"]) for row in rows]

    assert results == [{"from": node} for node in cluster.target.nodes]


async def test_a_killed_workers_tasks_are_done_by_others(cluster: Cluster) -> None:
    victim = cluster.target.workers[0]
    session = cluster.target.session_of(victim)
    rows = [
        await cluster.submit(cluster.target.nodes[0], type="sleep", data=1.0) for _ in range(15)
    ]
    async with Client(cluster.target.urls["node1"]) as client:

        async def holds_tasks() -> list[str]:
            held: list[str] = (await client.worker(str(session)))["current_tasks"]
            return held

        held = await wait_until(
            holds_tasks, what=f"{victim} to have a task in its hands", timeout_seconds=30
        )

    await cluster.target.kill(victim)

    assert cluster.target.has_ended(victim)
    for row in rows:
        await cluster.result(row.value["id"])
    tasks = [await _task(cluster, task_id) for task_id in held]
    assert any(task["worker_id"] != session for task in tasks), "none was taken over"


async def test_a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost(
    cluster: Cluster,
) -> None:
    old = await cluster.lookout.leader()
    others = set(cluster.target.nodes) - {old}
    before = len(cluster.recorder.history())
    async with cluster.writers(cluster.target.nodes):
        await cluster.target.kill(old)
        assert cluster.target.has_ended(old)
        new = await cluster.lookout.leader(among=others)
        after = await _first_acknowledged(cluster, new)

    await cluster.target.revive(old)
    await cluster.whole()

    assert new != old
    assert after
    assert not await cluster.lost(cluster.recorder.history()[before:])


async def test_a_leader_in_the_minority_commits_nothing_and_steps_down(cluster: Cluster) -> None:
    known = (await cluster.submit("node1")).value["id"]
    await cluster.whole()  # So that even the minority can tell of it.
    old = await cluster.lookout.leader()
    others = sorted(set(cluster.target.nodes) - {old})
    before = len(cluster.recorder.history())

    async with cluster.writers(cluster.target.nodes, each=3):
        await _first_acknowledged(cluster, old)
        await cluster.target.cut(alone(old, cluster.target.nodes))
        cut_at = time.monotonic()
        await cluster.lookout.until(
            f"{old} steps down",
            lambda views: (sight := views[old]) is not None and sight.role != "leader",
        )
        deposed_after = time.monotonic() - cut_at
        new = await cluster.lookout.leader(among=set(others))
        there = await _first_acknowledged(cluster, new)
        assert await cluster.target.held_back() > 0, "the cut dropped nothing"

        write = {"type": "noop", "data": None}
        later = await cluster.status(old, "POST", "/tasks", json=write)
        read = await cluster.status(old, "GET", f"/tasks/{known}")
        stale, staleness = await _stale(cluster, old, known)
    rows = cluster.recorder.history()[before:]
    await cluster.target.mend()
    await cluster.whole()

    assert deposed_after <= DEPOSED_SECONDS
    assert there, "the majority's clients went on"
    at_old = [row for row in rows if row.node == old and row.returned >= cut_at]
    in_flight = [row.value for row in at_old if row.invoked <= cut_at]
    assert "outcome_unknown" in in_flight, f"in flight at the cut: {in_flight}"
    assert not [row for row in at_old if row.type is Type.OK], "the minority acknowledged a write"
    assert later == (503, "no_quorum")
    assert read == (503, "no_quorum")
    assert stale == 200
    assert float(staleness) > 0
    assert not await cluster.lost(rows)


async def test_a_deaf_leader_is_heard_and_steps_down_all_the_same(cluster: Cluster) -> None:
    """While it leads the others follow it: they would not know of a new term otherwise."""
    old = await cluster.lookout.leader()
    others = set(cluster.target.nodes) - {old}
    term = _term(cluster, old)

    await cluster.target.cut(deaf(old, cluster.target.nodes))
    await cluster.lookout.until(
        f"{old} steps down",
        lambda views: (sight := views[old]) is not None and sight.role != "leader",
    )
    views = dict(cluster.lookout.newest)
    held_on = {node for node in others if (sight := views[node]) and sight.term == term}

    new = await cluster.lookout.leader(among=others)
    assert held_on == others, "one of them had not heard the deaf leader, and asked for votes"
    assert new != old
    assert await cluster.target.held_back() > 0


async def test_a_node_that_comes_back_at_another_address_is_found(cluster: Cluster) -> None:
    leader = await cluster.lookout.leader()
    node = next(each for each in cluster.target.nodes if each != leader)
    before = cluster.target.address_of(node)

    await cluster.target.disconnect(node)
    assert cluster.target.is_disconnected(node)
    missed = await cluster.submit(leader)
    cut_off = await cluster.status(node, "GET", f"/tasks/{missed.value['id']}")
    await cluster.target.reconnect(node, changed_address=True)
    await cluster.whole()

    assert cut_off == (503, "no_quorum"), "its clients reach it, and it reaches nobody"
    assert cluster.target.address_of(node) not in {"", before}
    assert (await cluster.status(node, "GET", f"/tasks/{missed.value['id']}"))[0] == 200


async def test_a_node_that_is_plugged_in_again_keeps_its_address(cluster: Cluster) -> None:
    leader = await cluster.lookout.leader()
    before = cluster.target.address_of(leader)

    await cluster.target.disconnect(leader)
    await cluster.lookout.leader(among=set(cluster.target.nodes) - {leader})
    await cluster.target.reconnect(leader)
    await cluster.whole()

    assert cluster.target.address_of(leader) == before


async def test_when_all_are_killed_and_started_again_nothing_is_lost(cluster: Cluster) -> None:
    names = (*cluster.target.nodes, *cluster.target.workers)
    starts = {name: cluster.target.start_of(name) for name in names}
    rows = [await cluster.submit(node) for node in cluster.target.nodes]

    await cluster.target.kill_all()
    assert all(cluster.target.has_ended(name) for name in names)
    await cluster.target.revive_all()
    await cluster.whole()

    assert not [name for name in names if cluster.target.start_of(name) == starts[name]]
    assert not await cluster.lost(rows)
    later = await cluster.submit("node1", type="echo", data="still here")
    assert await cluster.result(later.value["id"]) == "still here"


async def test_a_rolling_restart_is_a_restart_of_each(cluster: Cluster) -> None:
    before = len(cluster.recorder.history())
    async with cluster.writers(cluster.target.nodes, each=1):
        for node in cluster.target.nodes:
            start = cluster.target.start_of(node)
            await cluster.target.restart(node)
            assert cluster.target.start_of(node) != start
            await cluster.lookout.until(f"{node} is back", lambda views: None not in views.values())
    await cluster.whole()

    assert not await cluster.lost(cluster.recorder.history()[before:])


async def test_a_frozen_node_stands_still_and_catches_up(cluster: Cluster) -> None:
    leader = await cluster.lookout.leader()
    node = next(each for each in cluster.target.nodes if each != leader)

    await cluster.target.freeze(node)
    assert cluster.target.is_stopped(node)
    row = await cluster.submit(leader)
    await cluster.target.thaw(node)
    await cluster.whole()

    assert not cluster.target.is_stopped(node)
    assert (await cluster.status(node, "GET", f"/tasks/{row.value['id']}"))[0] == 200


@pytest.mark.parametrize("fault", ["reset", "throttle", "lose", "slow"])
async def test_a_faulty_link_is_felt_and_the_cluster_goes_on(cluster: Cluster, fault: str) -> None:
    leader = await cluster.lookout.leader()
    node = next(each for each in cluster.target.nodes if each != leader)
    amount: dict[str, float] = {"throttle": 4096.0, "lose": 0.3, "slow": 0.05}
    arguments = [amount[fault]] if fault in amount else []
    try:
        await getattr(cluster.target, fault)(alone(node, cluster.target.nodes), *arguments)
    except Unsupported as error:
        if fault != "slow" or "netem" not in str(error):
            raise
        pytest.skip(str(error))

    rows = [await cluster.submit(leader) for _ in range(5)]

    async def is_felt() -> bool:
        return await cluster.target.held_back() > 0

    await wait_until(is_felt, what="packets to be stopped or queued", timeout_seconds=20)
    assert {row.type for row in rows} == {Type.OK}


async def test_a_flipped_bit_is_found_and_the_node_comes_back_empty(cluster: Cluster) -> None:
    leader = await cluster.lookout.leader()
    node = next(each for each in cluster.target.nodes if each != leader)
    with pytest.raises(Unsupported, match="kill it first"):
        await cluster.target.flip_bit(node, "log")
    row = await cluster.submit(leader)
    await cluster.target.kill(node)

    flipped = await cluster.target.flip_bit(node, "log")
    await cluster.target.revive(node)

    async def is_refused() -> bool:
        return "is damaged at byte" in await cluster.target.last_words(node)

    await wait_until(is_refused, what=f"{node} to refuse its log", timeout_seconds=60)
    await cluster.target.kill(node)
    await cluster.target.put_disk_aside(node)
    await cluster.target.revive(node)
    await cluster.whole()
    assert ".log, byte " in flipped
    assert not await cluster.lost([row])


async def test_a_cut_outlives_the_restart_of_the_node_that_it_cuts_off(cluster: Cluster) -> None:
    """Rules go with a container's network namespace: they must be made anew."""
    leader = await cluster.lookout.leader()
    node = next(each for each in cluster.target.nodes if each != leader)
    await cluster.target.cut(alone(node, cluster.target.nodes))

    await cluster.target.restart(node)
    await cluster.lookout.until(f"{node} answers", lambda views: views[node] is not None)

    assert await cluster.status(node, "GET", "/queues") == (503, "no_quorum")


async def test_five_workers_share_what_three_did(cluster: Cluster) -> None:
    added = await cluster.target.scale(5)
    workers = cluster.target.workers

    async def all_joined() -> set[str] | None:
        sessions = {cluster.target.session_of(worker) for worker in workers}
        return None if None in sessions else {str(session) for session in sessions}

    sessions = await wait_until(all_joined, what="five workers to join", timeout_seconds=90)
    # At once, and as many as five have hands for: no four of them could take all.
    rows = await asyncio.gather(
        *(cluster.submit("node1", type="sleep", data=4.0) for _ in range(20))
    )
    for row in rows:
        await cluster.result(row.value["id"])
    tasks = [await _task(cluster, row.value["id"]) for row in rows]

    assert added == {"worker4", "worker5"}
    assert len(workers) == 5
    assert {task["worker_id"] for task in tasks} == sessions


def _term(cluster: Cluster, node: str) -> int:
    sight = cluster.lookout.newest[node]
    assert sight is not None
    return sight.term


async def _task(cluster: Cluster, task_id: str) -> dict[str, Any]:
    _status, body = await cluster.status("node1", "GET", f"/tasks/{task_id}")
    found: dict[str, Any] = body
    return found


async def _first_acknowledged(cluster: Cluster, node: str) -> bool:
    """Wait until a write through *node* that began after now was acknowledged."""
    since = time.monotonic()

    async def is_acknowledged() -> bool:
        return any(
            row.node == node and row.type is Type.OK and row.invoked >= since
            for row in reversed(cluster.recorder.history())
        )

    return await wait_until(
        is_acknowledged, what=f"{node} to acknowledge a write", timeout_seconds=30
    )


async def _stale(cluster: Cluster, node: str, task_id: str) -> tuple[int, str]:
    url = f"{cluster.target.urls[node]}/tasks/{task_id}"
    async with cluster.session.get(url, params={"consistency": "stale"}) as answer:
        await asyncio.wait_for(answer.read(), 5)
        return answer.status, answer.headers.get("Quorate-Staleness", "nan")
