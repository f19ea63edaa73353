"""Which nodes a proxy asks, and what becomes of what they are being asked."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import aiohttp
import pytest

from gateway.upstreams import Upstream, Upstreams


def connector_error(number: int) -> aiohttp.ClientConnectorError:
    key: Any = aiohttp.client_reqrep.ConnectionKey("node1", 5000, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, OSError(number, "why"))


@pytest.mark.parametrize(
    "error",
    [aiohttp.ConnectionTimeoutError("no answer"), connector_error(errno.EMFILE)],
    ids=["a lost packet", "no descriptors here"],
)
async def test_what_is_being_asked_goes_on_where_another_connection_cannot_be_made(
    error: Exception,
) -> None:
    upstream = Upstream("node1", "http://node1:5000")

    async with upstream.lent() as until_down:
        upstream.unreached(error)
        assert until_down.when() is None
        upstream.mark(is_up=False, why="it is silent")
        assert until_down.when() is not None
        until_down.reschedule(None)

    assert not upstream.is_up


async def test_what_is_being_asked_of_a_node_that_is_gone_ends() -> None:
    upstream = Upstream("node1", "http://node1:5000")

    async def ask() -> None:
        async with upstream.lent():
            upstream.unreached(connector_error(errno.ECONNREFUSED))
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await ask()


async def test_a_node_that_cannot_even_be_asked_leaves_the_others_watched(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    unaskable = f"http://{'a' * 64}:1"  # No resolver takes a name of such a label.
    upstreams = Upstreams({"node1": unaskable, "node2": f"http://127.0.0.1:{free_port}"})

    async def ask_until_down(upstream: Upstream) -> None:
        async with upstream.lent():
            await asyncio.Event().wait()

    async with aiohttp.ClientSession() as session:
        asking = asyncio.gather(*map(ask_until_down, upstreams.in_turn()), return_exceptions=True)
        watching = asyncio.create_task(upstreams.watch(session))
        await asyncio.wait((asking, watching), return_when=asyncio.FIRST_COMPLETED)

        assert asking.done()
        assert not watching.done()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert f"node1 at {unaskable} is passed over" in caplog.text
