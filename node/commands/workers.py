"""`quorate workers`: who works, and letting one finish."""

from __future__ import annotations

import click

from gateway.client import Client
from node.commands.asking import hand_down, with_client
from node.commands.options import client_options
from node.commands.output import as_json, print_table

COLUMNS = ("id", "name", "status", "node", "queues", "slots", "current_tasks", "tasks_processed")


@click.group("workers", invoke_without_command=True)
@click.option("--active", "wants_active", is_flag=True, help="Only those that take tasks now.")
@client_options
@click.pass_context
def workers(
    context: click.Context, *, wants_active: bool, url: str, patience: float, wants_json: bool
) -> int:
    """List the workers that are here, and those that were lost lately."""
    if hand_down(context, url=url, patience=patience, wants_json=wants_json):
        return 0

    async def work(client: Client) -> int:
        rows = await client.workers()
        if wants_active:
            rows = [row for row in rows if row["status"] == "active"]
        least = ("queues", "slots", "tasks_processed", "node", "current_tasks")
        print_table(rows, COLUMNS, least_first=least, wants_json=wants_json)
        return 0

    return with_client(url, patience, work)


@workers.command()
@click.argument("worker_id", metavar="ID")
@client_options
def drain(*, worker_id: str, url: str, patience: float, wants_json: bool) -> int:
    """Give the worker of this ID nothing more; it finishes what it runs."""

    async def work(client: Client) -> int:
        running = (await client.drain(worker_id))["current_tasks"]
        if wants_json:
            click.echo(as_json({"id": worker_id, "current_tasks": running}))
            return 0
        count = len(running)
        tasks = "1 task" if count == 1 else f"{count} tasks"
        click.echo(f"{worker_id} gets nothing more; it finishes {tasks}")
        return 0

    return with_client(url, patience, work)
