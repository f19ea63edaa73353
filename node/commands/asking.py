"""How a command asks a cluster: with a client that is closed afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click

from gateway.client import Client


def with_client(url: str, patience: float, work: Callable[[Client], Awaitable[int]]) -> int:
    """Do *work* with a client of the gateways in *url*, and return its exit status."""

    async def run() -> int:
        async with Client(url, patience_seconds=patience) as client:
            return await work(client)

    return asyncio.run(run())


def hand_down(context: click.Context, **given: object) -> bool:
    """Whether a subcommand follows, which then begins with the options *given* before it."""
    assert isinstance(context.command, click.Group)
    context.default_map = dict.fromkeys(context.command.commands, given)
    return context.invoked_subcommand is not None
