"""`GET /metrics`: numbers that agree with what happened, and a bounded number of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from cluster.core.queue_commands import PauseQueue
from cluster.replica import Replica
from gateway import metrics
from gateway.connection import Connection

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "observing.md"
Labels = frozenset[tuple[str, str]]


class Page:
    """A scrape: every sample by its name and labels."""

    def __init__(self, text: str) -> None:
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} comes twice"
                self.samples[key] = sample.value

    def of(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """One sample; 0 when there is none."""
        return self.samples.get((f"quorate_{name}", frozenset((labels or {}).items())), 0)

    def values(self, name: str, label: str) -> set[str]:
        """The values that a label has."""
        return {dict(labels)[label] for key, labels in self.samples if key == f"quorate_{name}"}


async def scraped(http: aiohttp.ClientSession) -> Page:
    """What the node says of itself now."""
    async with http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return Page(await answer.text())


async def done(http: aiohttp.ClientSession, queue: str) -> None:
    """A task of the queue, submitted and completed; another one that waits."""
    async with http.post("/workers", json={"queues": [queue], "slots": 1}) as answer:
        worker_id = (await answer.json())["worker_id"]
    for _ in range(2):
        async with http.post("/tasks", json={"type": "a", "data": 1, "queue": queue}) as answer:
            assert answer.status == 201
    async with http.post(f"/workers/{worker_id}/lease", json={"max": 1}) as answer:
        (lease,) = (await answer.json())["tasks"]
    path = f"/tasks/{lease['id']}/complete"
    async with http.post(path, json={"lease_token": lease["lease_token"]}) as answer:
        assert answer.status == 200


async def test_the_numbers_are_those_of_what_happened(
    http: aiohttp.ClientSession, queue: str
) -> None:
    before = await scraped(http)
    await done(http, queue)
    after = await scraped(http)

    def grew(name: str, **labels: str) -> float:
        return after.of(name, labels) - before.of(name, labels)

    assert grew("tasks_submitted_total") == 2
    assert grew("tasks_completed_total") == 1
    assert grew("tasks", status="completed") == grew("tasks", status="pending") == 1
    assert grew("workers_active") == 1
    assert grew("events_total", kind="submitted") == 2
    assert grew("events_total", kind="completed") == 1
    assert after.of("queue_tasks", {"queue": queue, "status": "pending"}) == 1
    assert after.of("queue_tasks", {"queue": queue, "status": "completed"}) == 1
    assert after.of("queue_oldest_seconds", {"queue": queue}) >= 0
    assert grew("applied_index") >= 4
    assert grew("commit_duration_seconds_count") >= 4
    assert grew("log_sync_duration_seconds_count") >= 4
    assert grew("state_bytes") > 0
    assert grew("log_bytes") > 0


async def test_a_node_tells_its_place_in_the_cluster(http: aiohttp.ClientSession) -> None:
    page = await scraped(http)

    assert page.values("node_info", "node_id") == {"node1"}
    assert (page.of("is_leader"), page.of("has_quorum"), page.of("leader_silence_seconds")) == (
        *(1, 1, 0),
    )
    assert page.of("term") >= 1
    assert page.of("commit_index") == page.of("applied_index") == page.of("log_last_index")
    assert page.of("member_match_index", {"member": "node1"}) == page.of("log_last_index")
    assert page.of("member_reachable", {"member": "node1"}) == 1
    assert ("process_cpu_seconds_total", frozenset()) in page.samples


async def test_answers_are_counted_by_route_and_status(
    http: aiohttp.ClientSession, url: str
) -> None:
    nobody = "/tasks/00000000-0000-7000-8000-000000000000"
    before = await scraped(http)
    for path in (nobody, "/no/such/path", "/health"):
        async with http.get(path):
            pass
    async with http.request("PROPFIND", "/health"):
        pass
    async with http.head("/events"):
        pass
    connection = await Connection.open(url)
    await connection.call("task", {"id": nobody[7:]}, timeout_seconds=10)
    await connection.call("health", {}, timeout_seconds=10)
    await connection.call("no such call", {}, timeout_seconds=10)
    await connection.close()
    after = await scraped(http)

    def grew(name: str, **labels: str) -> float:
        return after.of(name, labels) - before.of(name, labels)

    def requests(method: str, route: str, status: int) -> float:
        name = "http_request_duration_seconds_count"
        return grew(name, method=method, route=route, status=str(status))

    assert requests("GET", "/tasks/{id}", 404) == 1
    assert requests("GET", "_none", 404) == 1
    assert requests("GET", "/health", 200) == 1
    assert requests("_other", "_none", 405) == 1
    assert requests("HEAD", "/events", 200) == 0  # A stream is as long as its reader likes.
    assert grew("call_duration_seconds_count", operation="task") == 1
    assert grew("call_duration_seconds_count", operation="health") == 1
    assert grew("call_duration_seconds_count", operation="_other") == 1
    assert grew("problems_total", code="task_unknown") == 2
    assert grew("problems_total", code="not_found") == 2


async def test_queues_beyond_the_limit_are_told_together(
    http: aiohttp.ClientSession, replica: Replica, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done(http, queue)
    await done(http, f"{queue}-2")
    await replica.propose(PauseQueue(f"{queue}-2"))
    whole = await scraped(http)
    assert whole.of("queue_paused", {"queue": f"{queue}-2"}) == 1
    monkeypatch.setattr(metrics, "QUEUES_MAX", 1)

    page = await scraped(http)

    queues = page.values("queue_tasks", "queue")
    assert len(queues) == 2
    assert "_other" in queues
    for status in ("pending", "completed"):
        told = sum(page.of("queue_tasks", {"queue": q, "status": status}) for q in queues)
        assert told == page.of("tasks", {"status": status})


async def test_a_scraper_that_reads_openmetrics_is_given_it(http: aiohttp.ClientSession) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    async with http.get("/metrics", headers={"Accept": accept}) as answer:
        text = await answer.text()

    names = {family.name for family in parse_openmetrics(text)}
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert {"quorate_tasks", "quorate_tasks_submitted", "quorate_events"} <= names


async def test_the_loops_lag_is_felt(http: aiohttp.ClientSession) -> None:
    before = await scraped(http)
    async with asyncio.timeout(20):
        while (await scraped(http)).of("loop_lag_seconds_count") == before.of(
            "loop_lag_seconds_count"
        ):
            pass


async def test_the_documentation_names_every_number_and_no_other(
    http: aiohttp.ClientSession, queue: str
) -> None:
    await done(http, queue)
    async with http.get("/metrics") as answer:
        families = list(text_string_to_metric_families(await answer.text()))
    told = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in families
        if family.name.startswith("quorate_")
    }

    section = DOCUMENTED.read_text().partition("## Numbers")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `quorate_")]

    # Without a bound of its own this replica's state has no maximum to tell.
    assert {name for row in rows for name in re.findall(r"quorate_\w+", row)} == told | {
        "quorate_state_bytes_max"
    }
