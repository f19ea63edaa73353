"""Faults on real processes: each bites, and is undone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio

from chaos.checkers import Evidence
from chaos.checkers.nodes import raft, replicas
from chaos.checkers.verdicts import Status
from chaos.history import Recorder, Type
from chaos.lookout import Lookout, leader_of
from chaos.recording import Process, RecordingClient
from chaos.targets.contract import alone, deaf, ring_of_majorities
from chaos.targets.local import LocalTarget
from gateway.ids import new_id
from node.local import LocalSettings


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


def test_every_shape_of_a_cut_names_the_ways_that_it_cuts() -> None:
    nodes = ("a", "b", "c")

    assert set(alone("a", nodes)) == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}
    assert set(deaf("a", nodes)) == {("b", "a"), ("c", "a")}
    assert len(ring_of_majorities(nodes)) == 3
    five = ring_of_majorities("abcde")
    assert all(len([way for way in five if way[0] == name]) == 2 for name in "abcde")


def _is_deposed(views: object, name: str) -> bool:
    sight = views[name]  # type: ignore[index]  # A mapping of what each node said.
    return sight is not None and sight.role != "leader"


def _submission() -> dict[str, object]:
    return {"id": new_id(), "type": "noop", "data": None}
