"""Readers of the event stream, over one machine: nothing is missed, nothing is told twice."""

from __future__ import annotations

import asyncio

import pytest

from cluster import codec, watching
from cluster.core import ring
from cluster.core.machine import Machine
from cluster.core.model import Position
from cluster.core.ring import START
from cluster.errors import EventsLost
from cluster.watching import From, Watch, Watches
from tests.cluster.conftest import a_task


class Node:
    """A machine whose events are told as a replica tells them."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.watches = Watches(self.machine)

    def apply(self, *task_ids: str) -> None:
        applied = self.machine.apply_entry(
            [a_task(task_id) for task_id in task_ids],
            index=self.machine.applied_index + 1,
            term=1,
            cluster_time_ms=0,
            wall_time_ms=0,
        )
        self.watches.push(applied.events)

    def install(self, other: Node) -> None:
        loader = codec.MachineLoader()
        for section in codec.dump_machine(other.machine):
            loader.feed(section)
        self.machine.become(loader.finish())
        self.watches.jumped()


@pytest.fixture
def node() -> Node:
    return Node()


async def seen(watch: Watch) -> str:
    """The ids of the tasks that there is something about, without waiting for more."""
    watch.close()
    return "".join([str(event.task_id) async for event in watch])


async def test_a_reader_from_now_on_is_told_what_follows(node: Node) -> None:
    node.apply("a")
    watch = node.watches.open(From.NOW)
    node.apply("b", "c")

    assert await seen(watch) == "bc"


async def test_a_reader_from_the_oldest_is_told_all_that_is_kept_and_what_follows(
    node: Node,
) -> None:
    node.apply("a")
    node.apply("b")
    watch = node.watches.open(From.OLDEST)
    node.apply("c")

    assert await seen(watch) == "abc"


async def test_a_reader_goes_on_in_the_middle_of_an_entry(node: Node) -> None:
    node.apply("a", "b", "c")
    watch = node.watches.open(Position(1, 1))
    node.apply("d")

    assert await seen(watch) == "cd"


async def test_a_reader_that_is_ahead_of_the_node_is_told_nothing_twice(node: Node) -> None:
    watch = node.watches.open(Position(2, 1))
    node.apply("a")
    node.apply("b", "c", "d")
    node.apply("e")

    assert await seen(watch) == "de"


async def test_a_reader_waits_for_what_comes(node: Node) -> None:
    watch = node.watches.open(From.NOW)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)  # It begins to wait.
    node.apply("a")

    assert (await waiting).task_id == "a"


async def test_a_position_that_is_no_longer_kept_is_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "EVENTS_MAX", 2)
    monkeypatch.setattr(watching, "KEPT_EVENTS_MAX", 1)
    for task_id in "abcd":
        node.apply(task_id)

    with pytest.raises(EventsLost, match=r"after 1\.0 .* after 2\.0") as lost:
        node.watches.open(Position(1, 0))

    assert lost.value.oldest == Position(2, 0)
    assert await seen(node.watches.open(lost.value.oldest)) == "cd"
    assert await seen(node.watches.open(From.OLDEST)) == "cd"


async def test_a_refused_reader_is_not_kept(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "EVENTS_MAX", 1)
    monkeypatch.setattr(watching, "KEPT_EVENTS_MAX", 1)
    node.apply("a", "b")

    with pytest.raises(EventsLost):
        node.watches.open(START)

    assert not node.watches._open


async def test_a_node_keeps_more_than_the_state_does(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "EVENTS_MAX", 1)
    node.apply("a", "b")
    node.apply("c")
    watch = node.watches.open(Position(1, 0))
    node.apply("d")

    assert await seen(watch) == "bcd"


async def test_what_a_node_keeps_is_bounded_whoever_is_slow(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "KEPT_EVENTS_MAX", 3)
    watch = node.watches.open(From.NOW)
    for task_id in "abcdefgh":
        node.apply(task_id)

    history = node.watches._history
    assert history.end - history.first == 3
    assert await seen(watch) == "abcdefgh"  # The state has kept the others.


async def test_a_slow_reader_is_brought_up_from_what_the_state_keeps(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "KEPT_EVENTS_MAX", 2)
    watch = node.watches.open(From.NOW)
    node.apply("a", "b")
    assert (await anext(watch)).task_id == "a"
    for task_id in "cdefg":
        node.apply(task_id)

    assert [(await anext(watch)).task_id for _ in "bcdefg"] == list("bcdefg")


async def test_a_reader_that_falls_behind_all_that_is_kept_is_told_so(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "KEPT_EVENTS_MAX", 1)
    monkeypatch.setattr(ring, "EVENTS_MAX", 1)
    watch = node.watches.open(From.NOW)
    for task_id in "abcd":
        node.apply(task_id)

    for _ in range(2):
        with pytest.raises(EventsLost) as lost:
            await anext(watch)
    assert lost.value.oldest == Position(3, 0)


async def test_a_batch_is_what_there_is_up_to_so_many(node: Node) -> None:
    watch = node.watches.open(From.NOW)
    node.apply("a", "b")
    node.apply("c", "d", "e")
    node.apply("f")

    batches = [await watch.batch(4), await watch.batch(4)]
    waiting = asyncio.ensure_future(watch.batch(4))
    await asyncio.sleep(0)  # It begins to wait.
    node.apply("g")
    batches.append(await waiting)
    watch.close()
    batches.append(await watch.batch(4))

    ids = ["".join(str(event.task_id) for event in batch) for batch in batches]
    assert ids == ["abcd", "ef", "g", ""]


async def test_a_snapshot_leaves_no_gap_that_what_it_keeps_can_fill(node: Node) -> None:
    leader = Node()
    for each in (node, leader):
        each.apply("a")
    watch = node.watches.open(START)
    waiting = node.watches.open(From.NOW)
    first = asyncio.ensure_future(anext(waiting))
    await asyncio.sleep(0)  # It begins to wait.
    leader.apply("b")
    leader.apply("c")

    node.install(leader)
    node.apply("d")

    assert await seen(watch) == "abcd"
    assert (await first).task_id == "b"
    assert await seen(waiting) == "cd"


async def test_a_snapshot_that_does_not_reach_back_is_a_gap_and_told_as_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "EVENTS_MAX", 1)
    leader = Node()
    for each in (node, leader):
        each.apply("a")
    watch = node.watches.open(Position(0, 9))
    leader.apply("b")
    leader.apply("c")

    node.install(leader)
    node.apply("d")

    with pytest.raises(EventsLost) as lost:
        await anext(watch)
    assert lost.value.oldest == Position(3, 0)
    assert await seen(node.watches.open(lost.value.oldest)) == "d"


async def test_closing_all_ends_whoever_waits(node: Node) -> None:
    watch = node.watches.open(From.NOW)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)  # It begins to wait.

    node.watches.close()

    with pytest.raises(StopAsyncIteration):
        await waiting
