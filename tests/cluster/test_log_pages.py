"""The log as people read it, from real nodes: what was applied, in order, bounded."""

from __future__ import annotations

import asyncio

import pytest

from cluster import log_pages
from cluster.answers import Consistency
from cluster.core.commands import Submit
from cluster.core.model import NewTask
from cluster.core.queries import Count
from cluster.errors import EntriesGone
from cluster.replica import Replica
from tests.cluster.conftest import MakeCluster, a_task


async def submit(replica: Replica, count: int) -> list[int]:
    """The indexes of as many entries, each with one task."""
    return [(await replica.propose(a_task())).index for _ in range(count)]


def tasks(count: int, payload: bytes = b"1", *, first: int = 0) -> Submit:
    """A submission of as many tasks."""
    numbers = range(first, first + count)
    new = [NewTask.of(f"t{n}", "echo", payload, "application/json") for n in numbers]
    return Submit(tuple(new))


async def test_a_page_shows_each_entry_with_its_commands(cluster: MakeCluster) -> None:
    node = (await cluster(1)).leader()
    (index,) = await submit(node, 1)

    page = node.entries(index)
    (entry,) = page.views()

    assert (entry.index, entry.term) == (index, node.status().term)
    assert entry.cluster_time_ms is not None
    assert [command["op"] for command in entry.commands] == ["submit"]
    assert entry.commands[0]["tasks"][0]["payload"] == "1 bytes"


async def test_a_page_goes_on_where_the_one_before_it_ended(cluster: MakeCluster) -> None:
    node = (await cluster(1)).leader()
    indexes = await submit(node, 5)

    whole = node.entries(indexes[0]).views()
    parts = [entry for start in indexes[::2] for entry in node.entries(start, limit=2).views()]

    assert [entry.index for entry in whole] == indexes
    assert parts == list(whole)
    assert node.entries(indexes[-1] + 1).views() == ()
    assert node.entries(indexes[-1] + 1_000).views() == ()


async def test_without_a_beginning_a_page_is_the_newest_entries(cluster: MakeCluster) -> None:
    node = (await cluster(1)).leader()
    indexes = await submit(node, 5)

    page = node.entries(limit=3)

    assert [entry.index for entry in page.views()] == indexes[-3:]
    assert page.last == indexes[-1]


async def test_the_whole_log_tells_who_the_members_are_and_who_began_to_lead(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3)

    follower = nodes.follower()
    await follower.propose(a_task())

    views = follower.entries().views()

    ops = [command["op"] for view in views for command in view.commands]
    (*_, members) = [view.commands[0] for view in views if view.commands[0]["op"] == "configure"]
    assert {"no_op", "configure", "begin_term"} <= set(ops)
    assert [view.index for view in views] == list(range(views[0].index, views[-1].index + 1))
    assert members == {
        "op": "configure",
        "members": [{"id": id_, "raft": raft} for id_, raft in nodes.addresses.items()],
    }


async def test_what_a_snapshot_stands_for_is_gone_and_the_first_that_is_left_is_named(
    cluster: MakeCluster,
) -> None:
    node = (await cluster(1, tail_entries=2)).leader()
    await submit(node, 8)
    await asyncio.shield(node._snapshots.take())
    last = node.status().applied_index

    with pytest.raises(EntriesGone, match=f"entry 1 .* begins at {last - 2}") as gone:
        node.entries(1)

    assert gone.value.first == node.entries().first == last - 2
    assert [entry.index for entry in node.entries(gone.value.first).views()] == [
        last - 2,
        last - 1,
        last,
    ]


async def test_what_was_not_applied_is_not_shown(cluster: MakeCluster) -> None:
    nodes = await cluster(3)
    leader = nodes.leader()
    for id_ in [id_ for id_ in nodes.replicas if id_ != leader.node_id]:
        await nodes.stop(id_)
    applied = leader.status().applied_index
    waiting = asyncio.ensure_future(leader.propose(a_task(), timeout_seconds=0.2))
    await asyncio.gather(waiting, return_exceptions=True)

    assert leader._engine.log.last_index > applied
    assert leader.entries().last == applied
    assert leader.entries().views()[-1].index == applied


async def test_a_page_ends_early_when_its_entries_are_large(
    cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "BYTES_MAX", 2_500)
    node = (await cluster(1)).leader()
    indexes = [
        (await node.propose(Submit((task,)))).index for task in tasks(4, payload=b"x" * 1_000).tasks
    ]

    assert [entry.index for entry in node.entries(indexes[0]).views()] == indexes[:2]
    assert [entry.index for entry in node.entries().views()] == indexes[-2:]

    monkeypatch.setattr(log_pages, "BYTES_MAX", 1)
    assert [entry.index for entry in node.entries(indexes[0]).views()] == indexes[:1]


async def test_a_page_ends_early_when_it_has_many_commands(
    cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "COMMANDS_MAX", 3)
    node = (await cluster(1)).leader()
    one, _ = await submit(node, 2)
    many = (await node.propose(tasks(7))).index

    assert [entry.index for entry in node.entries(one).views()] == [one, one + 1]
    (entry,) = node.entries(many).views()
    assert len(entry.commands[0]["tasks"]) == 3
    assert entry.commands[1] == {"op": "more", "count": 4}

    both = await asyncio.gather(node.propose(tasks(2)), node.propose(tasks(2, first=2)))
    assert len({committed.index for committed in both}) == 1
    (entry,) = node.entries(both[0].index).views()
    assert [len(command.get("tasks", ())) for command in entry.commands] == [2, 1, 0]
    assert entry.commands[2] == {"op": "more", "count": 1}


async def test_a_log_that_was_begun_anew_by_a_snapshot_shows_what_came_after_it(
    cluster: MakeCluster,
) -> None:
    nodes = await cluster(3, tail_entries=0)
    leader, away = nodes.leader(), nodes.follower().node_id
    await nodes.stop(away)
    await submit(leader, 5)
    for replica in nodes.replicas.values():
        await asyncio.shield(replica._snapshots.take())
    back = await nodes.start(away)
    installed = leader.status().applied_index
    await back.read(Count(), consistency=Consistency.STALE, min_index=installed)
    (index,) = await submit(back, 1)

    page = back.entries()

    assert page.first == back._engine.log.first_index + 1 <= index
    assert [entry.index for entry in page.views()] == list(range(page.first, page.last + 1))
    assert page.views()[-1].commands[0]["op"] == "submit"
