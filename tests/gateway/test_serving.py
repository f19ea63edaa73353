"""What every application's edge does with failures that no handler foresaw."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import ClientConnectionResetError, ClientSession, web
from aiohttp.client_exceptions import ServerDisconnectedError

from gateway.serving import EDGE, Edge, problems_told, serve


async def _nothing(_app: web.Application) -> None:
    """Nobody stays connected."""


async def served(handler: web.RequestHandler) -> tuple[web.AppRunner, str, list[str]]:
    codes: list[str] = []
    app = web.Application(middlewares=[problems_told])
    app[EDGE] = Edge(say_goodbye=_nothing, note_problem=codes.append)
    app.router.add_get("/", handler)
    runner = await serve(app, "127.0.0.1", 0)
    host, port = runner.addresses[0]
    return runner, f"http://{host}:{port}/", codes


async def test_a_client_that_hung_up_is_no_error_of_the_nodes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_told = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        is_told.set()
        raise ClientConnectionResetError("Cannot write to closing transport")

    runner, url, codes = await served(handler)
    with caplog.at_level(logging.INFO):
        async with ClientSession() as session:
            with pytest.raises((ServerDisconnectedError, ConnectionError)):
                await session.get(url)
        await runner.cleanup()

    assert is_told.is_set()
    assert not codes
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_connection_of_ours_that_broke_is_told_to_who_still_listens() -> None:
    async def handler(_request: web.Request) -> web.StreamResponse:
        raise ConnectionResetError("somebody else hung up")

    runner, url, codes = await served(handler)
    async with ClientSession() as session, session.get(url) as answer:
        told = await answer.json(content_type=None)
    await runner.cleanup()

    assert answer.status == 500
    assert told["code"] == codes[0]
