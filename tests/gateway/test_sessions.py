"""Workers over `/connect`, against a real node: offers, and what is pushed to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.answers import Consistency
from cluster.core.commands import Drain, Offer
from cluster.core.queries import GetWorker
from cluster.replica import Replica
from gateway.ids import new_id
from node.waiting import wait_until
from tests.peers import WAIT_SECONDS, Peer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def peer(url: str, queue: str) -> AsyncIterator[Peer]:
    """A worker of the test's own queue, with room for two, that has offered nothing yet."""
    peer = Peer(url)
    await peer.connect()
    await peer.register(queue, slots=2)
    yield peer
    await peer.connection.close()


async def submit(peer: Peer, queue: str, **members: object) -> str:
    """Submit a task through the same connection and return its id."""
    task = await peer.call("submit", type="t", data=1, queue=queue, **members)
    return str(task["id"])


async def status_of(peer: Peer, task_id: str) -> str:
    """A task's status now."""
    return str((await peer.call("task", id=task_id))["status"])


async def applied(replica: Replica, index: int) -> None:
    """Wait until the node has applied the entry."""
    await replica.read(GetWorker(""), consistency=Consistency.STALE, min_index=index)


async def test_a_standing_offer_is_filled_and_filled_again(peer: Peer, queue: str) -> None:
    first, second, third = [await submit(peer, queue) for _ in range(3)]
    await peer.offer(1, 2)

    leases = await peer.leased(2)
    token = leases[0]["lease_token"]
    await peer.call("complete", id=first, lease_token=token, result="done")
    (again,) = await peer.hear("leased")

    assert [lease["id"] for lease in leases] == [first, second]
    assert again["id"] == third
    assert (again["data"], again["attempt"], again["progress"]) == (1, 1, None)


async def test_a_task_is_pushed_the_moment_that_it_is_there(peer: Peer, queue: str) -> None:
    await peer.offer(1, 2)

    task_id = await submit(peer, queue)

    assert [lease["id"] for lease in await peer.hear("leased")] == [task_id]


async def test_an_offer_of_no_slots_takes_nothing_and_keeps_what_runs(
    peer: Peer, queue: str
) -> None:
    await peer.offer(1, 2)
    running = await submit(peer, queue)
    await peer.leased(1)

    await peer.offer(2, 0)
    later = await submit(peer, queue)

    assert await status_of(peer, later) == "pending"
    assert await status_of(peer, running) == "processing"
    assert peer.told.empty()


async def test_a_cancellation_reaches_the_worker_at_once(peer: Peer, queue: str) -> None:
    await peer.offer(1, 2)
    task_id = await submit(peer, queue)
    await peer.leased(1)

    await peer.call("cancel", id=task_id)

    assert await peer.hear("orders") == {"cancel": [task_id], "lost": [], "drain": False}


async def test_a_run_that_took_too_long_is_told_to_be_lost(peer: Peer, queue: str) -> None:
    await peer.offer(1, 1)
    await submit(peer, queue, timeout=0.05, max_attempts=1)
    (lease,) = await peer.leased(1)

    orders = await peer.hear("orders")

    assert orders["lost"] == [lease["lease_token"]]


async def test_what_the_worker_ends_itself_is_not_told_to_it(peer: Peer, queue: str) -> None:
    await peer.offer(1, 1)
    ids = [await submit(peer, queue) for _ in range(2)]
    (lease,) = await peer.leased(1)
    await peer.offer(2, 0)

    await peer.call("release", id=lease["id"], lease_token=lease["lease_token"])
    await peer.offer(3, 1)
    (again,) = await peer.leased(1)
    await peer.call("complete", id=again["id"], lease_token=again["lease_token"])
    (other,) = await peer.leased(1)

    assert [lease["id"], again["id"], other["id"]] == [ids[0], *ids]


async def test_a_worker_that_is_to_drain_is_told_once(
    peer: Peer, replica: Replica, queue: str
) -> None:
    await peer.offer(1, 1)
    await replica.propose(Drain(peer.worker_id))

    assert await peer.hear("orders") == {"cancel": [], "lost": [], "drain": True}
    await peer.call("submit", type="t", data=1, queue=queue)
    assert peer.told.empty()


async def test_the_end_of_the_session_is_told(peer: Peer) -> None:
    await peer.offer(1, 1)

    await peer.call("leave", id=peer.worker_id)

    assert await peer.hear("gone") == "worker_unknown"
    assert await peer.problem("offer", id=peer.worker_id, epoch=2, slots=1) == "worker_unknown"


async def test_a_worker_that_comes_back_is_given_what_it_does_not_name(
    peer: Peer, queue: str
) -> None:
    ids = [await submit(peer, queue) for _ in range(2)]
    await peer.offer(1, 2)
    held, unseen = await peer.leased(2)
    await peer.connection.close()
    await peer.connect()

    await peer.offer(2, 2, lease_tokens=[held["lease_token"]])
    again = await peer.leased(1)

    assert again == [unseen]
    assert [held["id"], unseen["id"]] == ids


async def test_a_worker_that_comes_back_is_told_what_it_lost_and_is_to_cancel(
    peer: Peer, queue: str
) -> None:
    await peer.offer(1, 2)
    ids = [await submit(peer, queue) for _ in range(2)]
    cancelled, released = await peer.leased(2)
    elsewhere = Peer(peer.url)
    await elsewhere.connect()
    await peer.connection.close()
    await elsewhere.call("cancel", id=ids[0])
    await elsewhere.call("release", id=ids[1], lease_token=released["lease_token"])
    await elsewhere.connection.close()

    await peer.connect()
    tokens = [cancelled["lease_token"], released["lease_token"]]
    await peer.offer(2, 1, lease_tokens=tokens)

    orders = await peer.hear("orders")
    assert orders == {"cancel": [ids[0]], "lost": [released["lease_token"]], "drain": False}


async def test_the_offer_of_a_connection_that_ended_is_withdrawn(
    peer: Peer, replica: Replica, queue: str
) -> None:
    await peer.offer(1, 2)
    index = replica.status().applied_index
    await peer.connection.close()
    await applied(replica, index + 1)

    await peer.connect()
    later = await submit(peer, queue)

    assert await status_of(peer, later) == "pending"


async def test_a_newer_offer_outlives_the_connection_of_the_older(peer: Peer, queue: str) -> None:
    await peer.offer(1, 2)
    old = peer.connection
    await peer.connect()
    await peer.offer(2, 2)
    await old.close()
    await peer.offer(3, 2)  # Committed after whatever the old connection's end proposed.

    task_id = await submit(peer, queue)

    assert [lease["id"] for lease in await peer.hear("leased")] == [task_id]


async def test_an_offer_that_a_newer_one_superseded_is_refused(
    peer: Peer, replica: Replica
) -> None:
    await replica.propose(Offer(peer.worker_id, 1 << 40, 0, is_standing=True))

    assert await peer.problem("offer", id=peer.worker_id, epoch=5, slots=1) == "offer_superseded"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"slots": 1}, "epoch"),
        ({"epoch": 1}, "slots"),
        ({"epoch": 0, "slots": 1}, "epoch"),
        ({"epoch": 1 << 62, "slots": 1}, "epoch"),
        ({"epoch": 1, "slots": -1}, "slots"),
        ({"epoch": 1, "slots": 1, "lease_tokens": [0]}, "lease_tokens[0]"),
        ({"epoch": 1, "slots": 1, "tokens": []}, "tokens"),
    ],
)
async def test_a_wrong_offer_is_named(peer: Peer, members: dict[str, object], field: str) -> None:
    answer = await peer.connection.call(
        "offer", {"id": peer.worker_id} | members, timeout_seconds=WAIT_SECONDS
    )

    assert [error["field"] for error in answer.value["errors"]] == [field]


async def test_an_offer_for_nobody_is_refused(peer: Peer) -> None:
    assert await peer.problem("offer", id=new_id(), epoch=1, slots=1) == "worker_unknown"
    assert await peer.problem("offer", id="me", epoch=1, slots=1) == "worker_unknown"


async def test_leases_of_large_tasks_come_in_frames_that_are_not_too_long(
    url: str, queue: str
) -> None:
    big = Peer(url)
    await big.connect()
    await big.register(queue, slots=20)
    data = ["x" * 700_000 + str(place) for place in range(5)]
    for each in data:
        await big.call("submit", type="t", data=each, queue=queue)

    await big.offer(1, 20)
    parts = [await big.hear("leased") for _ in data]
    await big.connection.close()

    assert [[lease["data"] for lease in part] for part in parts] == [[each] for each in data]


async def test_what_was_reported_of_the_runs_counts_for_the_length_of_their_frame(
    url: str, queue: str
) -> None:
    big = Peer(url)
    await big.connect()
    await big.register(queue, slots=20)
    for place in range(3):
        await big.call("submit", type="t", data=place, queue=queue)
    await big.offer(1, 20)
    reported = {}
    for held in await big.leased(3):
        reported[held["lease_token"]] = "x" * 700_000 + str(held["data"])
        token = held["lease_token"]
        await big.call("progress", id=held["id"], lease_token=token, progress=reported[token])

    await big.offer(2, 20, lease_tokens=[])
    parts = [await big.hear("leased") for _ in reported]
    await big.connection.close()

    assert [[held["progress"] for held in part] for part in parts] == [
        [each] for each in reported.values()
    ]


async def test_an_offer_that_is_taken_back_does_not_stand(
    peer: Peer, queue: str, replica: Replica
) -> None:
    """Nobody would be told what it is given."""
    offering = peer.connection.call(
        "offer", {"id": peer.worker_id, "epoch": 1, "slots": 2}, timeout_seconds=WAIT_SECONDS
    )
    asking = asyncio.create_task(offering)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    task_id = await submit(peer, queue)

    async def is_withdrawn() -> bool:
        worker = (await replica.read(GetWorker(peer.worker_id))).value
        return worker is not None and worker.epoch == 3

    await wait_until(is_withdrawn, what="the withdrawal", timeout_seconds=WAIT_SECONDS)
    await peer.offer(2, 2)

    assert [lease["id"] for lease in await peer.leased(1)] == [task_id]
