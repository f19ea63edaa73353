"""How a command asks a cluster: with a client that is closed afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.client import Client
from node.config import parse_urls


def with_client(url: str, patience: float, work: Callable[[Client], Awaitable[int]]) -> int:
    """Do *work* with a client of the gateways in *url*, and return its exit status."""

    async def run() -> int:
        async with Client(parse_urls(url), patience_seconds=patience) as client:
            return await work(client)

    return asyncio.run(run())
