"""`quorate dlq`: the tasks that failed for good; putting them back, or removing them."""

from __future__ import annotations

from typing import Any

import click

from gateway.client import Client
from node.commands.asking import hand_down, with_client
from node.commands.operating import operated, wait_option
from node.commands.options import client_options
from node.commands.output import print_table
from node.commands.tasks import each

COLUMNS = ("id", "type", "queue", "attempts", "finished_at", "error")
LEAST_FIRST = ("queue", "attempts", "finished_at")


def _filters(**given: str | None) -> Any:
    return {name: value for name, value in given.items() if value is not None}


queue_option = click.option("--queue", help="Only those of this queue.")
type_option = click.option("--type", "type_", help="Only those of this type.")


@click.group("dlq", invoke_without_command=True)
@queue_option
@type_option
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@client_options
@click.pass_context
def dlq(
    context: click.Context,
    *,
    queue: str | None,
    type_: str | None,
    limit: int,
    url: str,
    patience: float,
    wants_json: bool,
) -> int:
    """List the dead letters, those that died first before the others."""
    if hand_down(context, url=url, patience=patience, wants_json=wants_json):
        return 0

    async def work(client: Client) -> int:
        filters = _filters(queue=queue, type=type_)
        page = await client.dead_letters_page(limit=limit, **filters)
        print_table(page["tasks"], COLUMNS, least_first=LEAST_FIRST, wants_json=wants_json)
        if page["total"] > len(page["tasks"]):
            shown = f"{len(page['tasks']):,} of {page['total']:,}"
            click.echo(f"quorate: {shown} shown; --limit shows more", err=True)
        return 0

    return with_client(url, patience, work)


@dlq.command()
@click.argument("task_ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--all", "wants_all", is_flag=True, help="Every one, or every one of --queue and --type."
)
@queue_option
@type_option
@wait_option
@client_options
def retry(
    *,
    task_ids: tuple[str, ...],
    wants_all: bool,
    queue: str | None,
    type_: str | None,
    waits: bool,
    url: str,
    patience: float,
    wants_json: bool,
) -> int:
    """Put the dead letters of these IDs back, or with --all every one."""
    if bool(task_ids) == wants_all:
        raise click.UsageError("give the IDs of dead letters, or --all")
    filters = _filters(queue=queue, type=type_)
    if task_ids and filters:
        raise click.UsageError("--queue and --type go with --all")

    async def work(client: Client) -> int:
        if task_ids:
            return await each(task_ids, client.retry_dead_letter, wants_json=wants_json)
        operation_id = await client.retry_dead_letters(**filters)
        return await operated(client, operation_id, "put back", waits=waits, wants_json=wants_json)

    return with_client(url, patience, work)


@dlq.command()
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@client_options
def delete(*, task_ids: tuple[str, ...], url: str, patience: float, wants_json: bool) -> int:
    """Remove the dead letters of these IDs for good."""

    async def work(client: Client) -> int:
        return await each(task_ids, client.delete_dead_letter, wants_json=wants_json)

    return with_client(url, patience, work)
