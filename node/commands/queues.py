"""`quorate queues`: how full they are; pausing, resuming, purging one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import click

from gateway.caller import Object
from gateway.client import Client
from node.commands.asking import hand_down, with_client
from node.commands.operating import operated, wait_option
from node.commands.options import client_options
from node.commands.output import print_object, print_table

WAITING = ("pending", "scheduled", "blocked", "retrying")
ENDED = ("completed", "failed", "cancelled", "expired")
COLUMNS = ("name", "paused", *WAITING, "processing", *ENDED, "oldest_seconds")
LEAST_FIRST = ("blocked", "expired", "cancelled", "oldest_seconds", "scheduled", "retrying")


@click.group("queues", invoke_without_command=True)
@client_options
@click.pass_context
def queues(context: click.Context, *, url: str, patience: float, wants_json: bool) -> int:
    """List the queues that have tasks or are paused, with how many are in which status."""
    if hand_down(context, url=url, patience=patience, wants_json=wants_json):
        return 0

    async def work(client: Client) -> int:
        rows = await client.queues()
        if not wants_json:
            rows = [row | row["depth"] for row in rows]
        print_table(rows, COLUMNS, least_first=LEAST_FIRST, wants_json=wants_json)
        return 0

    return with_client(url, patience, work)


@queues.command()
@click.argument("name")
@client_options
def pause(*, name: str, url: str, patience: float, wants_json: bool) -> int:
    """Let the tasks of the queue NAME wait; what runs goes on."""
    return _steered(name, Client.pause_queue, url, patience, wants_json=wants_json)


@queues.command()
@click.argument("name")
@client_options
def resume(*, name: str, url: str, patience: float, wants_json: bool) -> int:
    """Let the tasks of the queue NAME run again."""
    return _steered(name, Client.resume_queue, url, patience, wants_json=wants_json)


@queues.command(short_help="Remove the tasks that wait in the queue NAME, for good.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@wait_option
@client_options
def purge(*, name: str, yes: bool, waits: bool, url: str, patience: float, wants_json: bool) -> int:
    """Remove the tasks that wait in the queue NAME, for good; what runs stays."""
    if not yes:
        click.confirm(f"Remove all tasks that wait in {name}?", abort=True, err=True)

    async def work(client: Client) -> int:
        operation_id = await client.purge_queue(name)
        return await operated(client, operation_id, "removed", waits=waits, wants_json=wants_json)

    return with_client(url, patience, work)


def _steered(
    name: str,
    steer: Callable[[Client, str], Awaitable[None]],
    url: str,
    patience: float,
    *,
    wants_json: bool,
) -> int:
    async def work(client: Client) -> int:
        await steer(client, name)
        queue: Object = await client.queue(name)
        print_object(queue, wants_json=wants_json)
        return 0

    return with_client(url, patience, work)
