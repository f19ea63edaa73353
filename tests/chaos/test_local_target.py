"""Faults on real processes: each bites, and is undone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from chaos.checkers import Evidence
from chaos.checkers.nodes import raft, replicas
from chaos.checkers.verdicts import Status
from chaos.history import Recorder, Type
from chaos.lookout import Lookout, Views, leader_of
from chaos.recording import Process, RecordingClient
from chaos.targets.contract import Unsupported, alone, deaf, ring_of_majorities
from chaos.targets.local import LocalTarget
from gateway.ids import new_id
from node.local import LocalSettings
from node.waiting import wait_until


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of tests stay among the tests' own files."""
    monkeypatch.setenv("QUORATE_CHAOS_STATE", str(tmp_path / "state"))


@pytest_asyncio.fixture
async def target(tmp_path: Path, free_port: int) -> AsyncIterator[LocalTarget]:
    """Three nodes without workers."""
    settings = LocalSettings(data=tmp_path, workers=0, http_port=free_port, raft_port=free_port)
    target = LocalTarget(settings)
    try:
        await target.start()
        yield target
    finally:
        await target.stop()


async def test_a_leader_that_is_cut_off_steps_down_and_comes_back(target: LocalTarget) -> None:
    async with Lookout(target.urls, time.monotonic) as lookout:
        old = await lookout.leader()
        others = set(target.nodes) - {old}

        await target.cut(alone(old, target.nodes))
        new = await lookout.leader(among=others)
        await lookout.until(
            "the old one steps down",
            lambda views: (sight := views[old]) is not None and sight.role != "leader",
        )
        assert await target.held_back() > 0
        await target.mend()
        await lookout.until(
            "all follow one leader",
            lambda views: (
                len({sight.term for sight in views.values() if sight}) == 1
                and None not in views.values()
                and leader_of(views) is not None
            ),
        )

    assert new != old
    evidence = Evidence(sights=lookout.sights, nodes=target.nodes)
    assert raft(evidence).status is Status.HELD
    assert replicas(evidence).status is Status.HELD


async def test_clients_at_the_minoritys_end_are_told_no(target: LocalTarget) -> None:
    recorder = Recorder()
    async with (
        Lookout(target.urls, time.monotonic) as lookout,
        aiohttp.ClientSession() as session,
    ):
        client = RecordingClient(recorder, target.urls, session)
        old = await lookout.leader()
        await target.cut(alone(old, target.nodes))
        await lookout.until("the old one steps down", lambda views: _is_deposed(views, old))

        there = await client.ask(Process("a"), "submit", _submission(), node=old)
        new = await lookout.leader(among=set(target.nodes) - {old})
        here = await client.ask(Process("b"), "submit", _submission(), node=new)

    assert (there.type, there.value) == (Type.FAIL, "no_quorum")
    assert here.type is Type.OK


async def test_a_killed_and_a_frozen_node_come_back(target: LocalTarget) -> None:
    async with Lookout(target.urls, time.monotonic) as lookout:
        leader = await lookout.leader()
        first, second = sorted(set(target.nodes) - {leader})

        await target.kill(first)
        await lookout.until("it is silent", lambda views: views[first] is None)
        await target.revive(first)
        await lookout.until("it is back", lambda views: views[first] is not None)
        await target.freeze(second)
        await lookout.until("it is silent", lambda views: views[second] is None)
        await target.thaw(second)
        await lookout.until("it is back", lambda views: views[second] is not None)


async def test_when_all_are_killed_and_started_again_a_leader_is_found(target: LocalTarget) -> None:
    starts = {node: target.start_of(node) for node in target.nodes}

    await target.kill_all()
    assert all(target.has_ended(node) for node in target.nodes)
    await target.revive_all()

    async with Lookout(target.urls, time.monotonic) as lookout:
        await lookout.until("all follow one leader", is_whole)
    assert not [node for node in target.nodes if target.start_of(node) == starts[node]]


async def test_a_restart_is_another_start(target: LocalTarget) -> None:
    before = target.start_of("node1")

    await target.restart("node1")

    assert target.start_of("node1") != before
    assert not target.has_ended("node1")


@pytest.mark.parametrize("fault", ["slow", "throttle", "lose"])
async def test_a_faulty_link_is_felt_and_the_cluster_goes_on(
    target: LocalTarget, fault: str
) -> None:
    amount = {"slow": 0.05, "throttle": 20_000.0, "lose": 0.5}[fault]
    recorder = Recorder()
    async with (
        Lookout(target.urls, time.monotonic) as lookout,
        aiohttp.ClientSession() as session,
    ):
        client = RecordingClient(recorder, target.urls, session)
        leader = await lookout.leader()
        node = next(each for each in target.nodes if each != leader)
        await getattr(target, fault)([(leader, node)], amount)

        row = await client.ask(Process("a"), "submit", _submission(), node=leader)
        felt = await wait_until(target.held_back, what="bytes to be held", timeout_seconds=20)
        await target.mend()

        assert row.type is Type.OK
        assert felt > 0
        assert await target.held_back() == 0
        await lookout.until("all follow one leader", is_whole)


async def test_reset_links_break_and_are_made_again(target: LocalTarget) -> None:
    async with Lookout(target.urls, time.monotonic) as lookout:
        old = await lookout.leader()

        await target.reset(alone(old, target.nodes))
        await lookout.leader(among=set(target.nodes) - {old})
        assert await target.held_back() > 0
        await target.mend()

        await lookout.until("all follow one leader", is_whole)


async def test_a_disconnected_node_stays_so_when_other_ways_are_mended(
    target: LocalTarget,
) -> None:
    async with Lookout(target.urls, time.monotonic) as lookout:
        old = await lookout.leader()
        others = set(target.nodes) - {old}
        await target.disconnect(old)
        await lookout.leader(among=others)
        await target.mend()
        assert target.is_disconnected(old)
        with pytest.raises(Unsupported, match="--target docker"):
            await target.reconnect(old, changed_address=True)

        await target.reconnect(old)

        await lookout.until("all follow one leader", is_whole)
    assert not target.is_disconnected(old)


async def test_a_flipped_bit_is_refused_and_the_node_comes_back_empty(target: LocalTarget) -> None:
    with pytest.raises(Unsupported, match="kill it first"):
        await target.flip_bit("node1", "log")
    await target.kill("node1")
    with pytest.raises(Unsupported, match="holds no snapshot yet"):
        await target.flip_bit("node1", "snapshot")

    flipped = await target.flip_bit("node1", "log")
    await target.revive("node1")
    assert await target.cluster.children["node1"].wait() != 0
    await target.put_disk_aside("node1")
    await target.revive("node1")

    assert ".log, byte " in flipped
    async with Lookout(target.urls, time.monotonic) as lookout:
        await lookout.until("all follow one leader", is_whole)


async def test_flipping_the_same_bit_again_is_the_undo(target: LocalTarget) -> None:
    await target.kill("node1")

    first = await target.flip_bit("node1", "log")
    second = await target.flip_bit("node1", "log")
    await target.revive("node1")

    assert first == second
    async with Lookout(target.urls, time.monotonic) as lookout:
        await lookout.until("all follow one leader", is_whole)


def test_every_shape_of_a_cut_names_the_ways_that_it_cuts() -> None:
    nodes = ("a", "b", "c")

    assert set(alone("a", nodes)) == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}
    assert set(deaf("a", nodes)) == {("b", "a"), ("c", "a")}
    assert len(ring_of_majorities(nodes)) == 3
    five = ring_of_majorities("abcde")
    assert all(len([way for way in five if way[0] == name]) == 2 for name in "abcde")


def is_whole(views: Views) -> bool:
    """Whether every node answers, in one term, and one of them leads it."""
    terms = {sight.term if sight else None for sight in views.values()}
    return len(terms) == 1 and None not in terms and leader_of(views) is not None


def _is_deposed(views: object, name: str) -> bool:
    sight = views[name]  # type: ignore[index]  # A mapping of what each node said.
    return sight is not None and sight.role != "leader"


def _submission() -> dict[str, object]:
    return {"id": new_id(), "type": "noop", "data": None}
