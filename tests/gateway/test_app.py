"""The application as a server: binding, its own pages, stopping, and a bug's answer."""

from __future__ import annotations

import asyncio
import errno

import aiohttp
import pytest

from cluster.answers import Consistency
from cluster.core.queries import Count
from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from gateway.app import create_app, open_app
from gateway.defaults import SubmitDefaults
from gateway.ids import new_id
from gateway.serving import serve

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_taken_port_is_the_callers_error(url: str) -> None:
    port = int(url.rpartition(":")[2])

    with pytest.raises(OSError, match="address already in use") as raised:
        await serve(create_app(defaults=SubmitDefaults()), "127.0.0.1", port)

    assert raised.value.errno == errno.EADDRINUSE


async def test_health_is_what_the_simplest_clients_expect(http: aiohttp.ClientSession) -> None:
    async with http.post("/tasks", json={"type": "a", "data": 1}) as answer:
        assert answer.status == 201

    async with http.get("/health") as answer:
        health = await answer.json()

    assert answer.status == 200
    assert list(health) == [
        "status",
        "gateway",
        "workers",
        "pending_tasks",
        "completed_tasks",
        "timestamp",
        "leader",
        "term",
    ]
    assert (health["status"], health["leader"]) == ("healthy", "node1")
    assert health["pending_tasks"] >= 1


async def test_the_cluster_page_is_this_nodes_own_view(http: aiohttp.ClientSession) -> None:
    async with http.post("/tasks", json={"type": "a", "data": 1}) as answer:
        index = int(answer.headers["Quorate-Applied-Index"])

    async with http.get("/cluster") as answer:
        cluster = await answer.json()

    assert (cluster["role"], cluster["leader"], cluster["quorum"]) == ("leader", "node1", True)
    assert cluster["applied_index"] >= index
    assert [member["id"] for member in cluster["members"]] == ["node1"]
    assert "Quorate-Applied-Index" not in answer.headers


async def test_while_a_node_loads_its_state_it_says_that_it_lives_and_nothing_else(
    replica: Replica,
) -> None:
    app = create_app(defaults=SubmitDefaults())
    runner = await serve(app, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url) as http:
        async with http.get("/livez") as alive:
            assert (alive.status, await alive.json()) == (200, {"status": "alive"})
        for path in ("/readyz", "/health", "/tasks", "/cluster"):
            async with http.get(path) as answer:
                problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (503, "starting")
            assert answer.headers["Retry-After"] == "1"

        open_app(app, replica)
        async with http.get("/tasks") as answer:
            assert answer.status == 200
    await runner.cleanup()


async def test_a_node_that_never_loaded_its_state_stops() -> None:
    runner = await serve(create_app(defaults=SubmitDefaults()), "127.0.0.1", 0)

    await runner.cleanup()

    assert runner.addresses == []


async def test_stopping_lets_long_waits_answer(replica: Replica, queue: str) -> None:
    app = create_app(defaults=SubmitDefaults())
    runner = await serve(app, "127.0.0.1", 0)
    open_app(app, replica)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url) as http:
        async with http.post("/workers", json={"queues": [queue]}) as answer:
            path = f"/workers/{(await answer.json())['worker_id']}/lease"
        index = replica.status().applied_index
        polling = asyncio.create_task(http.post(path, json={"wait": 60}))
        await replica.read(Count(), consistency=Consistency.STALE, min_index=index + 1)

        await runner.cleanup()
        async with await polling as answer:
            assert await answer.json() == {"tasks": []}


async def test_a_bug_is_a_problem_for_the_client_and_a_trace_for_the_log(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(defaults="not what it should be")  # type: ignore[arg-type]
    runner = await serve(app, "127.0.0.1", 0)
    open_app(app, replica)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with (
        aiohttp.ClientSession(url) as http,
        http.post("/tasks", json={"type": "a", "data": 1}) as answer,
    ):
        problem = await answer.json(content_type=None)
    await runner.cleanup()

    assert (answer.status, problem["code"]) == (500, "internal")
    assert "Traceback" not in str(problem)
    assert [record.message for record in caplog.records] == ["POST /tasks failed"]


async def test_a_read_that_is_linearizable_waits_for_its_index_all_the_same(
    http: aiohttp.ClientSession, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Replica.read.__kwdefaults__ is not None
    monkeypatch.setitem(Replica.read.__kwdefaults__, "timeout_seconds", 0.05)
    index = replica.status().applied_index

    async with http.get("/tasks", params={"min_index": index}) as reached:
        assert reached.status == 200
    async with http.get("/tasks", params={"min_index": index + 1_000_000}) as ahead:
        problem = await ahead.json(content_type=None)

    assert (ahead.status, problem["code"]) == (503, "not_caught_up")
    assert f"not yet {index + 1_000_000}" in problem["detail"]


async def test_without_a_quorum_writes_and_reads_say_so_and_own_pages_answer(
    minority: ReplicaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in (Replica.propose, Replica.read):
        assert call.__kwdefaults__ is not None
        monkeypatch.setitem(call.__kwdefaults__, "timeout_seconds", 0.05)
    replica = await Replica.start(minority)
    app = create_app(defaults=SubmitDefaults())
    runner = await serve(app, "127.0.0.1", 0)
    open_app(app, replica)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    expected = {
        ("GET", "/tasks"): 503,
        ("GET", "/tasks?consistency=stale"): 200,
        ("GET", "/tasks?consistency=stale&min_index=99"): 503,
        ("GET", "/workers?consistency=stale&min_index=99"): 503,
        ("GET", f"/tasks/{new_id()}?consistency=stale&min_index=99"): 503,
        ("DELETE", f"/tasks/{new_id()}"): 503,
        ("POST", "/workers"): 503,
        ("POST", f"/workers/{new_id()}/lease"): 503,
        ("GET", "/health"): 503,
        ("GET", "/cluster"): 200,
        ("GET", "/livez"): 200,
        ("GET", "/readyz"): 503,
    }

    statuses, codes, headers = {}, {}, {}
    async with aiohttp.ClientSession(url) as http:
        for method, path in expected:
            async with http.request(method, path) as answer:
                statuses[method, path] = answer.status
                codes[path] = (await answer.json(content_type=None)).get("code")
                headers[path] = answer.headers
    await runner.cleanup()
    await replica.stop()

    assert statuses == expected
    assert codes["/tasks"] == codes["/workers"] == "no_quorum"
    behind = {path for path in codes if path.endswith("min_index=99")}
    assert [(codes[path], headers[path]["Retry-After"]) for path in behind] == [
        ("not_caught_up", "1")
    ] * 3
    for path in ("/tasks", "/health", "/readyz"):
        assert headers[path]["Retry-After"] == "1"
    assert headers["/tasks?consistency=stale"]["Quorate-Staleness"] == "inf"
