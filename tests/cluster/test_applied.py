"""Waiting until an index is applied here."""

from __future__ import annotations

import asyncio

import pytest

from cluster import applied
from cluster.applied import AppliedWaiters
from cluster.errors import NotCaughtUp, Overloaded


class Node:
    """How far a node has come, and who waits for it."""

    def __init__(self) -> None:
        self.applied_index = 0
        self.waiters = AppliedWaiters(lambda: self.applied_index)

    def apply(self, index: int) -> None:
        self.applied_index = index
        self.waiters.moved()


@pytest.fixture
async def node() -> Node:
    return Node()


def soon() -> float:
    return asyncio.get_running_loop().time() + 0.01


async def test_whoever_waits_goes_on_when_the_index_is_applied(node: Node) -> None:
    order: list[int] = []

    async def wait(index: int) -> None:
        await node.waiters.wait(index, float("inf"))
        order.append(index)

    waiting = [asyncio.ensure_future(wait(index)) for index in (3, 1, 2)]
    await asyncio.sleep(0)  # They begin to wait.
    node.apply(2)
    await asyncio.gather(*waiting[1:])
    assert order == [1, 2]

    node.apply(3)
    await waiting[0]


async def test_an_index_that_is_applied_is_not_waited_for(node: Node) -> None:
    node.apply(5)

    await node.waiters.wait(5, 0.0)


async def test_whoever_waits_for_too_long_is_told_how_far_this_node_is(node: Node) -> None:
    node.apply(7)

    with pytest.raises(NotCaughtUp, match="has applied 7, not yet 8"):
        await node.waiters.wait(8, soon())


async def test_those_who_gave_up_are_not_kept(node: Node) -> None:
    for _ in range(10):
        await asyncio.gather(
            *(node.waiters.wait(1 << 60, soon()) for _ in range(10)), return_exceptions=True
        )

    assert node.waiters._waiting == []
    assert node.waiters._given_up == 0


async def test_those_who_gave_up_are_passed_over(node: Node) -> None:
    waiting = [asyncio.ensure_future(node.waiters.wait(1, float("inf"))) for _ in range(3)]
    await asyncio.sleep(0)  # They begin to wait.
    waiting[0].cancel()
    node.apply(1)

    assert await asyncio.gather(*waiting[1:]) == [None, None]
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert (node.waiters._waiting, node.waiters._given_up) == ([], 0)


async def test_only_so_many_may_wait(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applied, "WAITING_MAX", 2)
    waiting = [asyncio.ensure_future(node.waiters.wait(1, float("inf"))) for _ in range(2)]
    await asyncio.sleep(0)  # They begin to wait.

    with pytest.raises(Overloaded, match="2 reads"):
        await node.waiters.wait(1, float("inf"))

    for each in waiting:
        each.cancel()
