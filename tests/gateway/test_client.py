"""The client against real gateways, some of which are not there."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from cluster.errors import NoQuorum, OutcomeUnknown, Overloaded
from gateway import caller
from gateway.client import Client
from gateway.client_errors import (
    ClusterFull,
    InvalidRequest,
    LeaseLost,
    RequestRefused,
    TaskUnknown,
    WorkerUnknown,
)
from gateway.ids import new_id
from gateway.problems import Problem
from tests.gateway.strangers import stranger

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str, free_port: int) -> AsyncIterator[Client]:
    """A client whose first URL leads nowhere."""
    async with Client(f"http://127.0.0.1:{free_port}, {url}/") as client:
        yield client


async def test_a_task_goes_from_submission_to_result(client: Client, queue: str) -> None:
    task = await client.submit("resize", b"\x00\xff", queue=queue)
    worker = await client.register(queues=[queue], slots=2, name="w")
    (given,) = await client.lease(worker["worker_id"], slots=2, wait=5)
    token = given["lease_token"]

    await client.progress(given["id"], token, 0.5)
    orders = await client.heartbeat(worker["worker_id"], [token])
    waiting = asyncio.create_task(client.task(task.id, wait=60))
    await client.complete(given["id"], token, {"picture": given["data"]})
    ended = await waiting
    await client.leave(worker["worker_id"])
    await client.leave(worker["worker_id"])

    assert orders == {"cancel": [], "lost": [], "drain": False}
    assert (ended["status"], ended["result"]) == ("completed", {"picture": b"\x00\xff"})


async def test_a_task_as_large_as_is_taken_goes_through(client: Client, queue: str) -> None:
    task = await client.submit("big", b"x" * (2**20 - 5), queue=queue)

    assert len((await client.task(task.id))["data"]) == 2**20 - 5


async def test_lists_and_pages_read_as_objects(client: Client, queue: str) -> None:
    task = await client.submit("a", 1, queue=queue)
    worker = await client.register(queues=[f"{queue}-other"])

    assert [listed["id"] for listed in (await client.tasks_page(queue=queue))["tasks"]] == [task.id]
    assert worker["worker_id"] in [listed["id"] for listed in await client.workers()]
    assert (await client.health())["status"] == "healthy"
    assert (await client.cluster())["node_id"] == "node1"
    assert (await client.cancel(task.id))["status"] == "cancelled"


async def test_a_no_is_an_error_of_its_own_kind(client: Client, queue: str) -> None:
    with pytest.raises(TaskUnknown):
        await client.task(new_id())
    with pytest.raises(WorkerUnknown):
        await client.lease(new_id())
    with pytest.raises(InvalidRequest) as invalid:
        await client.submit("a", 1, priorty="high")
    task = await client.submit("a", 1, queue=queue)
    with pytest.raises(LeaseLost):
        await client.complete(task.id, 5)
    with pytest.raises(RequestRefused) as conflict:
        await client.submit("b", 1, id=task.id)

    assert invalid.value.errors[0]["field"] == "priorty"
    assert (conflict.value.status, conflict.value.code) == (409, "id_conflict")


async def test_nobody_reached_means_that_it_did_not_happen(free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    async with Client(url, patience_seconds=0.1) as client:
        with pytest.raises(NoQuorum) as nobody:
            await client.submit("a", 1)

    assert str(nobody.value) == f"{url} did not answer in time: connection refused"


async def test_a_client_belongs_to_one_loop_at_a_time(free_port: int) -> None:
    client = Client(f"http://127.0.0.1:{free_port}", patience_seconds=0.1)

    async def ask_in_vain(error: type[Exception]) -> None:
        asked = [client.task("x") for _ in range(caller.CALLING_MAX + 1)]  # One waits for its turn.
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert type(answer) is error

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, ask_in_vain(NoQuorum))
    await ask_in_vain(NoQuorum)
    await asyncio.to_thread(asyncio.run, ask_in_vain(RuntimeError))
    await ask_in_vain(NoQuorum)


async def test_several_that_were_not_reached_are_told_with_what_the_last_one_did(
    free_port: int,
) -> None:
    urls = [f"http://127.0.0.1:{free_port}", f"http://127.0.0.2:{free_port}"]
    async with Client(urls, patience_seconds=0.01) as client:
        with pytest.raises(NoQuorum) as nobody:
            await client.health()

    both, last = ", ".join(urls), urls[1]
    said = f"no gateway of {both} answered in time; the last: {last}: connection refused"
    assert str(nobody.value) == said


@pytest.mark.parametrize(
    ("scheme", "path", "why"),
    [
        ("https", "", "it does not speak TLS as we do: is it an http:// address?"),
        ("http", "/elsewhere", "HTTP 404 and no WebSocket: no node is there, or a proxy passes"),
    ],
)
async def test_what_is_wrong_with_an_address_is_said(
    url: str, scheme: str, path: str, why: str
) -> None:
    address = url.replace("http", scheme) + path
    async with Client(address, patience_seconds=0.1) as client:
        with pytest.raises(NoQuorum, match=re.escape(f"{address} did not answer in time: {why}")):
            await client.health()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("outcome_unknown", OutcomeUnknown),
        ("no_quorum", NoQuorum),
        ("overloaded", Overloaded),
        ("operations_full", RequestRefused),
        ("cluster_full", ClusterFull),
    ],
)
async def test_an_answer_that_stays_out_says_whether_it_may_have_happened(
    code: str, error: type[Exception]
) -> None:
    async with stranger(Problem(code, "why")) as url, Client(url, patience_seconds=0.1) as client:
        with pytest.raises(error, match="why"):
            await client.submit("a", 1)


async def test_patience_does_not_begin_anew_for_those_who_wait_their_turn(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "CALLING_MAX", 1)
    async with Client(f"http://127.0.0.1:{free_port}", patience_seconds=0.3) as client:
        async with asyncio.timeout(1.5):
            ended = await asyncio.gather(
                *(client.submit("a", 1) for _ in range(10)), return_exceptions=True
            )

    assert {type(one) for one in ended} == {NoQuorum}


async def test_whose_turn_does_not_come_is_told_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caller, "CALLING_MAX", 1)
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"http://127.0.0.1:{frozen.getsockname()[1]}"
        async with Client(url, patience_seconds=0.1) as client:
            asking = [asyncio.create_task(client.submit("a", place)) for place in range(2)]
            # The one whose turn it is waits for three seconds for a connection.
            ended, _ = await asyncio.wait(asking, timeout=1, return_when=asyncio.FIRST_COMPLETED)
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    with pytest.raises(NoQuorum, match="this one was not sent"):
        ended.pop().result()


async def test_who_waits_for_a_turn_where_all_are_refused_is_refused_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caller, "CALLING_MAX", 1)
    full = Problem("cluster_full", "no room")
    async with stranger(full, []) as url, Client(url, patience_seconds=0.2) as client:
        ended = await asyncio.gather(
            *(client.submit("a", 1) for _ in range(1_000)), return_exceptions=True
        )

    assert {type(one) for one in ended} == {ClusterFull}


async def test_a_turn_that_comes_late_comes_as_long_as_others_are_answered(
    url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "CALLING_MAX", 1)
    async with Client(url, patience_seconds=1.0) as client:
        task = await client.submit("a", 1, queue=queue)
        slow = {"id": task.id, "wait": 0.4}  # Put off by the node.

        told = await asyncio.gather(*(client.call("task", slow) for _ in range(5)))

    assert {one["status"] for one in told} == {"pending"}


async def test_a_lost_answer_is_asked_for_again_with_the_same_id(url: str, queue: str) -> None:
    seen: list[dict[str, object]] = []
    async with (
        stranger(Problem("outcome_unknown", "why"), seen) as other,
        Client([other, url]) as client,
    ):
        task = await client.submit("a", 1, queue=queue)

    assert seen[0]["id"] == task.id


async def test_a_closed_client_opens_anew(url: str) -> None:
    client = Client(url)
    await client.cluster()
    await client.close()

    assert (await client.cluster())["node_id"] == "node1"
    await client.close()


async def test_many_callers_share_one_connection() -> None:
    lonely = stranger(Problem("task_unknown", "why"))
    async with lonely as url, Client(url) as client:
        ended = await asyncio.gather(
            *(client.task(new_id()) for _ in range(64)), return_exceptions=True
        )

    assert {type(one) for one in ended} == {TaskUnknown}
    assert lonely.connections == 1


async def test_a_connection_that_ended_is_opened_anew() -> None:
    restarted = stranger(Problem("task_unknown", "why"), hangs_up=True)
    async with restarted as url, Client(url) as client:
        for _ in range(2):
            with pytest.raises(TaskUnknown):
                await client.task(new_id())
            async with asyncio.timeout(10):
                await restarted.peer_closed.wait()
            restarted.peer_closed.clear()

    assert restarted.connections == 2


async def test_what_would_be_done_twice_is_not_asked_again(url: str) -> None:
    seen: list[dict[str, object]] = []
    async with (
        stranger(Problem("outcome_unknown", "why"), seen) as other,
        Client([other, url]) as client,
    ):
        with pytest.raises(OutcomeUnknown):
            await client.purge_queue("a")

    assert len(seen) == 1


async def test_a_read_whose_answers_are_lost_did_not_happen() -> None:
    lost = stranger(Problem("outcome_unknown", "why"))
    async with lost as url, Client(url, patience_seconds=0.1) as client:
        with pytest.raises(NoQuorum, match="why"):
            await client.task(new_id())


async def test_what_did_not_happen_is_asked_again_whatever_it_is(url: str, queue: str) -> None:
    async with stranger(Problem("no_quorum", "why")) as other, Client([other, url]) as client:
        operation = await client.purge_queue(queue)

        assert (await client.operation(operation))["finished"]


async def test_a_node_that_leaves_is_called_no_more_and_let_go(url: str, queue: str) -> None:
    seen: list[dict[str, object]] = []
    leaving = stranger(Problem("no_quorum", "why"), seen, says_leaving=True)
    async with leaving as other, Client([other, url]) as client:
        await client.submit("a", 1, queue=queue)
        async with asyncio.timeout(10):
            await leaving.peer_closed.wait()
        await client.submit("a", 2, queue=queue)

    assert len(seen) == 1


async def test_queues_are_looked_at_and_steered(client: Client, queue: str) -> None:
    await client.submit("a", 1, queue=queue)
    await client.pause_queue(queue)
    paused = await client.queue(queue)
    await client.resume_queue(queue)

    assert (paused["paused"], paused["depth"]["pending"]) == (True, 1)
    assert queue in [found["name"] for found in await client.queues()]
    assert not (await client.queue(queue))["paused"]


async def test_what_happens_is_told_from_where_one_likes(client: Client, queue: str) -> None:
    made = [(await client.submit("a", number, queue=queue)).id for number in range(2)]

    async with aclosing(client.events(queue=queue, from_oldest=True)) as events:
        first = await anext(events)
    async with aclosing(client.events(queue=queue, after=first["position"])) as events:
        second = await anext(events)

    assert [(event["kind"], event["task_id"]) for event in (first, second)] == [
        ("submitted", task_id) for task_id in made
    ]


async def test_dead_letters_are_listed_put_back_and_deleted(client: Client, queue: str) -> None:
    made = [await client.submit("a", n, queue=queue, max_attempts=1) for n in range(3)]
    worker = await client.register(queues=[queue], slots=3)
    for given in await client.lease(worker["worker_id"], slots=3, wait=5):
        await client.fail(given["id"], given["lease_token"], "no")

    await client.retry_dead_letter(made[0].id)
    await client.delete_dead_letter(made[1].id)
    dead = [task["id"] async for task in client.dead_letters(queue=queue)]
    await client.retry_dead_letters(queue=queue)

    assert dead == [made[2].id]
    assert (await client.dead_letters_page(queue=queue))["total"] == 0
    assert await made[0].status() == "pending"
    with pytest.raises(TaskUnknown):
        await made[1].status()
