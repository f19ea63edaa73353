"""`quorate submit`, `task`, `tasks`, `workers`: a client of any gateway."""

from __future__ import annotations

import json
from typing import Any

import click

from gateway.caller import Object
from gateway.client import Client
from gateway.submissions import Submission
from node.commands.asking import with_client
from node.commands.options import json_option, option, patience_option, url_option
from node.commands.output import as_json, print_object, print_table

FINAL = frozenset({"completed", "failed", "cancelled", "expired"})
NOBODY_SECONDS = 2.0  # After which a task that no worker could take is worth a word.
WAIT_SECONDS = 30.0  # How long one call waits; then it asks again.


@click.command()
@click.argument("type_", metavar="TYPE")
@click.argument("data", metavar="[JSON]", required=False)
@click.option("--queue", help="The queue to submit to.")
@click.option("--priority", help="low, normal, high, critical, or 0 to 9; 9 goes first.")
@click.option("--delay", type=float, help="Seconds to wait before the first run.")
@click.option("--max-attempts", type=int, help="How many runs may fail before it is given up.")
@click.option("--timeout", type=float, help="Seconds that one run may take.")
@click.option("--id", "task_id", help="The task's id, a UUID: the same id again is the same task.")
@option(
    "--wait",
    "waits",
    variable="QUORATE_WAIT",
    is_flag=True,
    help="Wait for the end and show the result; exit status 1 unless it was completed.",
)
@url_option
@patience_option
@json_option
def submit(
    *,
    type_: str,
    data: str | None,
    task_id: str | None,
    waits: bool,
    url: str,
    patience: float,
    wants_json: bool,
    **options: Any,
) -> int:
    """Submit a task of TYPE with JSON as its data, and print its id."""
    chosen = {name: value for name, value in options.items() if value is not None}
    if "priority" in chosen and chosen["priority"].isdecimal():
        chosen["priority"] = int(chosen["priority"])
    if task_id is not None:
        chosen["id"] = task_id
    submission = Submission(type_, _parse(data), **chosen)

    async def work(client: Client) -> int:
        task = await client.call("submit", submission.body())
        if not waits:
            click.echo(as_json(task) if wants_json else task["id"])
            return 0
        task = await client.task(task["id"], wait=NOBODY_SECONDS)
        if task["waiting_for"] == "worker":
            click.echo(f"quorate: {_nobody(task)}; waiting on", err=True)
        return _show_end(await _finished(client, task["id"]), wants_json=wants_json)

    return with_client(url, patience, work)


@click.command("task")
@click.argument("task_id", metavar="ID")
@option("--wait", "waits", variable="QUORATE_WAIT", is_flag=True, help="Wait until it is finished.")
@url_option
@patience_option
@json_option
def show_task(*, task_id: str, waits: bool, url: str, patience: float, wants_json: bool) -> int:
    """Show the task with this ID."""

    async def work(client: Client) -> int:
        task = await (_finished(client, task_id) if waits else client.task(task_id))
        print_object(task, wants_json=wants_json)
        return 0

    return with_client(url, patience, work)


@click.command("tasks")
@click.option("--status", help="Only those with this status.")
@click.option("--queue", help="Only those of this queue.")
@click.option("--type", "type_", help="Only those of this type.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@url_option
@patience_option
@json_option
def list_tasks(
    *, type_: str | None, url: str, patience: float, wants_json: bool, **filters: Any
) -> int:
    """List tasks, newest first."""
    chosen = {name: value for name, value in filters.items() if value is not None}
    if type_ is not None:
        chosen["type"] = type_

    async def work(client: Client) -> int:
        page = await client.tasks_page(**chosen)
        print_table(
            page["tasks"],
            ("id", "type", "queue", "priority", "status", "attempts", "created_at"),
            least_first=("attempts", "queue", "priority", "created_at"),
            wants_json=wants_json,
        )
        return 0

    return with_client(url, patience, work)


@click.command("workers")
@url_option
@patience_option
@json_option
def list_workers(*, url: str, patience: float, wants_json: bool) -> int:
    """List the workers that are here, and those that were lost lately."""

    async def work(client: Client) -> int:
        print_table(
            await client.workers(),
            ("id", "name", "status", "node", "queues", "slots", "current_tasks", "tasks_processed"),
            least_first=("queues", "slots", "tasks_processed", "node", "current_tasks"),
            wants_json=wants_json,
        )
        return 0

    return with_client(url, patience, work)


async def _finished(client: Client, task_id: str) -> Object:
    while (task := await client.task(task_id, wait=WAIT_SECONDS))["status"] not in FINAL:
        pass
    return task


def _nobody(task: Object) -> str:
    """That no worker could take the task, and what such a worker would serve."""
    wanted = f"type {task['type']!r} from queue {task['queue']!r}"
    tags = f" with {', '.join(task['requires'])}" if task["requires"] else ""
    return f"no connected worker serves {wanted}{tags}"


def _show_end(task: Object, *, wants_json: bool) -> int:
    is_completed = task["status"] == "completed"
    if wants_json:
        click.echo(as_json(task))
    elif is_completed:
        click.echo(as_json(task["result"]))
    else:
        click.echo(f"quorate: task {task['id']} {task['status']}: {task['error']}", err=True)
    return 0 if is_completed else 1


def _parse(data: str | None) -> Any:
    if data is None:
        return None
    try:
        return json.loads(data)
    except ValueError:
        raise click.BadParameter(
            f"{data!r} is not JSON; a text needs its own quotes: {json.dumps(data)!r}",
            param_hint="JSON",
        ) from None
