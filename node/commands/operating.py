"""How a command waits for an operation, and shows how far it is."""

from __future__ import annotations

import asyncio
import sys

import click

from gateway.client import Client
from node.commands.output import as_json

PAUSE_SECONDS = 0.2  # Between two looks.

wait_option = click.option(
    "--wait/--no-wait",
    "waits",
    default=True,
    show_default=True,
    help="Wait until it is done; else print the operation's id.",
)


async def operated(
    client: Client, operation_id: str, done: str, *, waits: bool, wants_json: bool
) -> int:
    """Wait for an operation's end, if so wished, and say how many tasks it was *done* to."""
    operation = await client.operation(operation_id)
    if not waits:
        click.echo(as_json(operation) if wants_json else operation_id)
        return 0
    while not operation["finished"]:
        _show_progress(operation, done)
        await asyncio.sleep(PAUSE_SECONDS)
        operation = await client.operation(operation_id)
    _show_progress(operation, done)
    count = operation["done"]
    tasks = "1 task" if count == 1 else f"{count:,} tasks"
    click.echo(as_json(operation) if wants_json else f"{tasks} {done}")
    return 0


def _show_progress(operation: dict[str, object], done: str) -> None:
    if not sys.stderr.isatty():
        return
    end = "\n" if operation["finished"] else ""
    line = f"\r{operation['done']:,} of {operation['total']:,} {done}{end}"
    click.echo(line, err=True, nl=False)
