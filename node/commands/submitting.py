"""`quorate submit`: one task from the command line, or many from a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

import click

from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import InvalidRequest, RequestRefused
from gateway.defaults import ATTEMPTS_MAX, DELAY_SECONDS_MAX
from gateway.encoding import Format, Undecodable, decode
from gateway.submissions import Submission
from node.commands.asking import with_client
from node.commands.batches import Batch, NotTaken, batches
from node.commands.options import Number, client_options, option
from node.commands.output import as_json
from node.commands.tasks import finished

NOBODY_SECONDS = 2.0  # After which a task that no worker could take is worth a word.


@click.command()
@click.argument("type_", metavar="[TYPE]", required=False)
@click.argument("data", metavar="[JSON]", required=False)
@click.option(
    "--batch",
    type=click.File("rb"),
    help="Submit the tasks of this file instead, an object a line (NDJSON); - is standard input.",
)
@click.option("--queue", help="The queue to submit to.")
@click.option("--priority", help="low, normal, high, critical, or 0 to 9; 9 goes first.")
@click.option(
    "--delay", type=Number(0, DELAY_SECONDS_MAX), help="Seconds to wait before the first run."
)
@click.option(
    "--max-attempts",
    type=click.IntRange(1, ATTEMPTS_MAX),
    help="How many runs may fail before it is given up.",
)
@click.option(
    "--timeout", type=Number(0.001, DELAY_SECONDS_MAX), help="Seconds that one run may take."
)
@click.option("--id", "task_id", help="The task's id, a UUID: the same id again is the same task.")
@click.option("--idempotency-key", help="The same key again is the same task, for 24 hours.")
@option(
    "--wait",
    "waits",
    variable="QUORATE_WAIT",
    is_flag=True,
    help="Wait for the end and show the result; exit status 1 unless it was completed.",
)
@client_options
def submit(
    *,
    type_: str | None,
    data: str | None,
    batch: IO[bytes] | None,
    task_id: str | None,
    waits: bool,
    url: str,
    patience: float,
    wants_json: bool,
    **options: Any,
) -> int:
    """Submit a task of TYPE with JSON as its data, and print its id.

    With --batch, submit a file's tasks, and print their ids in its order.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if batch is not None:
        if type_ is not None or task_id is not None or waits or chosen:
            raise click.UsageError("--batch goes alone: each line says all of its task")
        return _submit_file(batch, url, patience, wants_json=wants_json)
    if type_ is None:
        raise click.UsageError("Missing argument 'TYPE', or --batch FILE")
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
        return _show_end(await finished(client, task["id"]), wants_json=wants_json)

    return with_client(url, patience, work)


def _submit_file(file: IO[bytes], url: str, patience: float, *, wants_json: bool) -> int:
    async def work(client: Client) -> int:
        taken = 0
        try:
            for batch in batches(file):
                task_ids = await _submitted(client, batch)
                taken += len(task_ids)
                for task_id in task_ids:
                    click.echo(as_json({"task_id": task_id}) if wants_json else task_id)
        except NotTaken as error:
            raise click.ClickException(f"{error} ({taken} tasks before it were taken)") from None
        return 0

    return with_client(url, patience, work)


async def _submitted(client: Client, batch: Batch) -> list[str]:
    """The ids of the batch's tasks, all of which were taken.

    Raises:
        NotTaken: none was.
    """
    try:
        answer = await client.call("submit_batch", {"tasks": batch.tasks})
    except InvalidRequest as error:
        raise NotTaken("; ".join(_mistakes(batch, error))) from None
    except (RequestRefused, ValueError) as error:  # A value that is too large is not even sent.
        raise NotTaken(f"{_lines(batch)}: {error}") from None
    task_ids: list[str] = answer["task_ids"]
    return task_ids


def _lines(batch: Batch) -> str:
    first, last = batch.lines[0], batch.lines[-1]
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _mistakes(batch: Batch, error: InvalidRequest) -> Iterator[str]:
    """What is wrong, by line instead of by place in a batch."""
    for mistake in error.errors:
        place, _, field = mistake["field"].removeprefix("tasks[").partition("]")
        line = batch.lines[int(place)] if place.isdecimal() else batch.lines[0]
        yield f"line {line}: {field.removeprefix('.')} {mistake['message']}"


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
        # Bytes as they were given, also those that are no UTF-8.
        return decode(data.encode(errors="surrogateescape"), Format.JSON)
    except Undecodable as error:
        quoted = json.dumps(data, ensure_ascii=False)
        hint = f"; a text needs its own quotes: {quoted!r}" if data[:1].isalnum() else ""
        raise click.BadParameter(f"{error}{hint}", param_hint="JSON") from None
