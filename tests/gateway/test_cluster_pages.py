"""The pages about the cluster itself, on one real node: its log, its members, its leader."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import aiohttp
import pytest

from cluster.replica import Replica
from gateway import members

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def call(http: aiohttp.ClientSession, method: str, path: str, **options: Any) -> Any:
    """The status and the object of an answer."""
    async with http.request(method, path, **options) as answer:
        return answer.status, await answer.json(content_type=None)


async def submitted(http: aiohttp.ClientSession, queue: str, **members: object) -> int:
    """The index of a new task's entry."""
    body = {"type": "a", "data": "a secret", "queue": queue, **members}
    async with http.post("/tasks", json=body) as answer:
        assert answer.status == 201
        return int(answer.headers["Quorate-Applied-Index"])


async def test_the_log_is_shown_without_payloads_and_secrets(
    http: aiohttp.ClientSession, queue: str
) -> None:
    await submitted(http, queue)  # The first one shares its entry with the term's beginning.
    index = await submitted(http, queue, meta={"token": "a secret too"})

    status, page = await call(http, "GET", f"/cluster/log?from={index}")

    (entry,) = page["entries"]
    assert status == 200
    assert list(entry) == ["index", "term", "time", "wall_time", "commands"]
    assert entry["index"] == page["last"] == index
    assert page["first"] <= index
    assert entry["wall_time"].startswith("20")
    (command,) = entry["commands"]
    assert command["op"] == "submit"
    assert (command["tasks"][0]["queue"], command["tasks"][0]["meta"]) == (queue, ["token"])
    assert "secret" not in str(page)


async def test_the_log_comes_in_pages_and_its_tail_without_a_beginning(
    http: aiohttp.ClientSession, queue: str
) -> None:
    indexes = [await submitted(http, queue) for _ in range(4)]

    _, tail = await call(http, "GET", "/cluster/log?limit=2")
    _, page = await call(http, "GET", f"/cluster/log?from={indexes[0]}&limit=2")
    _, beyond = await call(http, "GET", f"/cluster/log?from={indexes[-1] + 5}")

    assert [entry["index"] for entry in tail["entries"]] == indexes[-2:]
    assert [entry["index"] for entry in page["entries"]] == indexes[:2]
    assert beyond["entries"] == []


@pytest.mark.parametrize("query", ["from=0", "from=-1", "from=x", "limit=0", "to=5"])
async def test_a_wrong_page_of_the_log_is_named(http: aiohttp.ClientSession, query: str) -> None:
    status, problem = await call(http, "GET", f"/cluster/log?{query}")

    assert (status, problem["code"]) == (422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [query.partition("=")[0]]


async def test_what_the_log_no_longer_has_is_gone_and_its_first_entry_is_named(
    http: aiohttp.ClientSession, replica: Replica, queue: str
) -> None:
    for _ in range(3):
        await submitted(http, queue)
    settings = dataclasses.replace(replica.settings, tail_entries=1)
    replica._snapshots._settings = settings  # What is kept before a snapshot.
    await asyncio.shield(replica._snapshots.take())

    status, problem = await call(http, "GET", "/cluster/log?from=1")

    assert (status, problem["code"]) == (410, "entries_gone")
    status, page = await call(http, "GET", f"/cluster/log?from={problem['first']}")
    assert status == 200
    assert page["entries"][0]["index"] == page["first"] == problem["first"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["id", "raft"]),
        ({"id": "no id!", "raft": "127.0.0.1:7601"}, ["id"]),
        ({"id": "node2", "raft": "127.0.0.1"}, ["raft"]),
        ({"id": "node2", "raft": "127.0.0.1:70000"}, ["raft"]),
        ({"id": "node2", "raft": "127.0.0.1:0"}, ["raft"]),
        ({"id": "node2", "raft": "http://127.0.0.1:7601"}, ["raft"]),
        ({"id": "node2", "raft": "127.0.0.1:7601", "wait": -1}, ["wait"]),
        ({"id": "node2", "raft": "127.0.0.1:7601", "vote": True}, ["vote"]),
    ],
)
async def test_a_member_that_cannot_be_is_named(
    http: aiohttp.ClientSession, body: dict[str, object], fields: list[str]
) -> None:
    status, problem = await call(http, "POST", "/cluster/members", json=body)

    assert (status, problem["code"]) == (422, "invalid")
    assert [error["field"] for error in problem["errors"]] == fields


async def test_what_cannot_be_changed_is_refused_with_the_reason(
    http: aiohttp.ClientSession, replica: Replica
) -> None:
    raft = replica.settings.members["node1"]

    async def refused(method: str, path: str, **body: object) -> tuple[int, str, str]:
        status, problem = await call(http, method, path, json=body or None)
        return status, problem["code"], problem["detail"]

    assert await refused("POST", "/cluster/members", id="node1", raft="127.0.0.1:1") == (
        *(409, "change_refused", f"node1 is a member already, at {raft}"),
    )
    assert await refused("POST", "/cluster/members", id="node2", raft=raft) == (
        *(409, "change_refused", f"{raft} is the address of node1 already"),
    )
    assert await refused("DELETE", "/cluster/members/node9") == (
        *(404, "member_unknown", "node9 is not a member"),
    )
    assert await refused("DELETE", "/cluster/members/node1") == (
        *(409, "change_refused", "node1 is the only member"),
    )
    assert await refused("DELETE", f"/cluster/members/{'n' * 200}") == (
        *(404, "member_unknown", f"{'n' * 64!r}… is not a member"),
    )
    assert await refused("POST", "/cluster/leader") == (
        *(409, "change_refused", "no other member could lead"),
    )
    assert await refused("POST", "/cluster/leader", to="node9") == (
        *(404, "member_unknown", "node9 is not a member"),
    )


async def test_a_member_that_does_not_come_in_time_may_come_yet(
    http: aiohttp.ClientSession, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_GRACE_SECONDS", 0.1)
    body = {"id": "node2", "raft": f"127.0.0.1:{free_port}", "wait": 0.1}

    status, problem = await call(http, "POST", "/cluster/members", json=body)

    assert (status, problem["code"]) == (504, "outcome_unknown")


async def test_what_was_done_is_done_again(http: aiohttp.ClientSession, replica: Replica) -> None:
    member = {"id": "node1", "raft": replica.settings.members["node1"]}

    added = await call(http, "POST", "/cluster/members", json=member)
    leads = await call(http, "POST", "/cluster/leader", json={"to": "node1"})

    async with http.post("/cluster/members", json=member) as answer:
        headers = answer.headers

    assert added == leads == (200, {"success": True})
    assert int(headers["Quorate-Applied-Index"]) > 0
    assert int(headers["Quorate-Term"]) > 0
