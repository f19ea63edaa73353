"""A page of another site cannot drive a node that trusts its own machine."""

from __future__ import annotations

import aiohttp
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

A_TASK = b'{"type": "noop", "data": 1}'


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5000", "10.1.2.3", "[::2]", "[", "a℀b", "a b", ""]
)
@pytest.mark.parametrize("path", ["/tasks", "/health", "/no-such-path"])
async def test_a_request_meant_for_another_host_is_refused(
    http: aiohttp.ClientSession, host: str, path: str
) -> None:
    async with http.get(path, headers={"Host": host}) as answer:
        problem = await answer.json()

    assert (answer.status, problem["code"]) == (403, "forbidden_host")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:9", "[::1]:5"]
)
async def test_every_name_of_the_loopback_is_served(http: aiohttp.ClientSession, host: str) -> None:
    async with http.get("/livez", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "http://localhost:1", "https://127.0.0.1.evil.example"),
        *("http://[", "http://a℀b", "http://[::1]:99999", ""),
    ],
)
async def test_a_write_from_another_sites_page_is_refused(
    http: aiohttp.ClientSession, origin: str
) -> None:
    headers = {"Origin": origin, "Host": "localhost:5000"}
    async with http.post("/tasks", data=A_TASK, headers=headers) as answer:
        problem = await answer.json()

    assert (answer.status, problem["code"]) == (403, "forbidden_origin")


async def test_a_websocket_of_another_sites_page_is_refused(http: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/connect", protocols=("quorate.1",), origin="http://evil.example")

    assert refused.value.status == 403


async def test_a_write_from_the_nodes_own_page_is_taken(http: aiohttp.ClientSession) -> None:
    headers = {
        "Origin": "http://localhost:5000",
        "Host": "localhost:5000",
        "Content-Type": "application/json",
    }
    async with http.post("/tasks", data=A_TASK, headers=headers) as answer:
        assert answer.status == 201
