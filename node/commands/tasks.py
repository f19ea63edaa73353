"""`quorate task`, `tasks`, `cancel`, `retry`: looking at tasks, and steering them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click

from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import RequestRefused
from node.commands.asking import with_client
from node.commands.options import client_options, option
from node.commands.output import as_json, print_object, print_table

FINAL = frozenset({"completed", "failed", "cancelled", "expired"})
LIMIT_MAX = 1_000_000_000
WAIT_SECONDS = 30.0  # How long one call waits; then it asks again.
COLUMNS = ("id", "type", "queue", "priority", "status", "attempts", "created_at")
LEAST_FIRST = ("attempts", "queue", "priority", "created_at")
EVENT_COLUMNS = ("time", "kind", "status", "worker_id", "lease_token", "attempt", "error")


@click.command("task")
@click.argument("task_id", metavar="ID")
@option("--wait", "waits", variable="QUORATE_WAIT", is_flag=True, help="Wait until it is finished.")
@click.option("--events", "wants_events", is_flag=True, help="Show its timeline instead.")
@client_options
def show_task(
    *,
    task_id: str,
    waits: bool,
    wants_events: bool,
    url: str,
    patience: float,
    wants_json: bool,
) -> int:
    """Show the task with this ID."""

    async def work(client: Client) -> int:
        task = await (finished(client, task_id) if waits else client.task(task_id))
        if wants_events:
            events = await client.task_events(task_id)
            least = ("lease_token", "worker_id", "error")
            print_table(events, EVENT_COLUMNS, least_first=least, wants_json=wants_json)
        else:
            print_object(task, wants_json=wants_json)
        return 0

    return with_client(url, patience, work)


@click.command("tasks")
@click.option("--status", help="Only those with this status.")
@click.option("--queue", help="Only those of this queue.")
@click.option("--type", "type_", help="Only those of this type.")
@click.option("--worker", help="Only those that the worker of this id runs, or ran last.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=50, show_default=True)
@client_options
def list_tasks(
    *, type_: str | None, limit: int, url: str, patience: float, wants_json: bool, **filters: Any
) -> int:
    """List tasks, newest first."""
    chosen = {name: value for name, value in filters.items() if value is not None}
    if type_ is not None:
        chosen["type"] = type_

    async def work(client: Client) -> int:
        page = await client.tasks_page(limit=limit, **chosen)
        rows = page["tasks"]
        while len(rows) < limit and page["next"] is not None:
            left = limit - len(rows)
            page = await client.tasks_page(limit=left, cursor=page["next"], **chosen)
            rows += page["tasks"]
        print_table(rows, COLUMNS, least_first=LEAST_FIRST, wants_json=wants_json)
        return 0

    return with_client(url, patience, work)


@click.command()
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@client_options
def cancel(*, task_ids: tuple[str, ...], url: str, patience: float, wants_json: bool) -> int:
    """Cancel the tasks of these IDs: at once, or through their workers."""

    async def work(client: Client) -> int:
        return await each(task_ids, client.cancel, wants_json=wants_json)

    return with_client(url, patience, work)


@click.command()
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@client_options
def retry(*, task_ids: tuple[str, ...], url: str, patience: float, wants_json: bool) -> int:
    """Put the tasks of these IDs back: failed, cancelled or expired ones."""

    async def work(client: Client) -> int:
        return await each(task_ids, client.retry, wants_json=wants_json)

    return with_client(url, patience, work)


async def each(
    task_ids: tuple[str, ...], do: Callable[[str], Awaitable[Object | None]], *, wants_json: bool
) -> int:
    """Do it to one after the other, and say how each is then; 1 if one was refused."""
    status = 0
    for task_id in task_ids:
        try:
            task = await do(task_id)
        except RequestRefused as error:
            click.echo(f"quorate: {error}", err=True)
            status = 1
            continue
        told = {"id": task_id, "status": "removed"} if task is None else task
        click.echo(as_json(told) if wants_json else f"{task_id}  {told['status']}")
    return status


async def finished(client: Client, task_id: str) -> Object:
    """The task, once it has ended."""
    while (task := await client.task(task_id, wait=WAIT_SECONDS))["status"] not in FINAL:
        pass
    return task
