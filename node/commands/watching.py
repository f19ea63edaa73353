"""`quorate events`, `monitor`, `keys`: what happens, what was decided, and what there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from fnmatch import fnmatchcase
from typing import Any

import click

from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import EntriesGone, EventsGone
from gateway.client_pages import Status
from gateway.event_source import EventSource
from gateway.urls import parse_urls
from node.commands.asking import with_client
from node.commands.options import client_options
from node.commands.output import as_json, print_table
from node.loops import run, stop_signal, unless_set

PAGE_ENTRIES = 200
INDEX_MAX = (1 << 63) - 1
LOOK_EVERY_SECONDS = 0.2  # How late a line of `monitor` may be.
SHOWN_KEYS = 3  # Of each kind of record, by name.
UNTOLD = ("op", "origin", "namespace", "content_type", "policy")  # Of a command, in a line.
KIND_WIDTH = 16  # Of the longest kind of event.


@click.command()
@click.option("--queue", help="Only what happens in this queue.")
@click.option("--task", metavar="ID", help="Only what happens to this task.")
@click.option("--worker", metavar="ID", help="Only what this worker does.")
@click.option("--kind", help="Only events of this kind, or of several: failed,expired")
@click.option("--from-start", is_flag=True, help="Begin with the oldest event that is kept.")
@click.option("--after", metavar="POSITION", help="Go on after the event with this position.")
@client_options
def events(
    *,
    from_start: bool,
    after: str | None,
    url: str,
    patience: float,
    wants_json: bool,
    **filters: str | None,
) -> int:
    """Follow what happens, until Ctrl-C.

    Goes on at another gateway of --url when one ends, and misses and repeats nothing.
    """
    if from_start and after is not None:
        raise click.UsageError("--from-start and --after say two places to begin at")
    source = EventSource(
        parse_urls(url),
        after=after,
        from_oldest=from_start,
        patience_seconds=patience,
        **{name: value for name, value in filters.items() if value is not None},
    )

    async def follow() -> None:
        while True:
            try:
                async for event in source:
                    click.echo(as_json(event) if wants_json else event_line(event))
            except EventsGone as gone:
                click.echo(f"quorate: {gone.detail}; some were missed", err=True)
                source.position = gone.oldest

    return _until_stopped(follow)


@click.command()
@click.option(
    "--from", "from_index", type=click.IntRange(1, INDEX_MAX), help="Begin with this entry."
)
@click.option("--from-start", is_flag=True, help="Begin with the oldest entry in the log.")
@client_options
def monitor(
    *, from_index: int | None, from_start: bool, url: str, patience: float, wants_json: bool
) -> int:
    """Show every command of the replicated log as it is executed, until Ctrl-C."""
    if from_start and from_index is not None:
        raise click.UsageError("--from-start and --from say two places to begin at")

    async def follow() -> None:
        async with Client(url, patience_seconds=patience) as client:
            newest = await client.call("cluster_log", {"limit": 1})
            index = from_index or (newest["first"] if from_start else newest["last"] + 1)
            while True:
                index, is_more = await _show_entries(client, index, wants_json=wants_json)
                if not is_more:
                    await asyncio.sleep(LOOK_EVERY_SECONDS)

    return _until_stopped(follow)


@click.command()
@click.argument("pattern", metavar="[PATTERN]", default="*")
@client_options
def keys(*, pattern: str, url: str, patience: float, wants_json: bool) -> int:
    """Show what records there are: how many of each kind, and the names of some.

    PATTERN chooses kinds, such as 'tasks:*'.
    """

    async def work(client: Client) -> int:
        rows = [row for row in await _records(client) if fnmatchcase(row["key"], pattern)]
        if not wants_json:
            rows = [row | {"some": _with_more(row)} for row in rows]
        print_table(rows, ("key", "count", "some"), wants_json=wants_json)
        return 0

    return with_client(url, patience, work)


def event_line(event: Object) -> str:
    """One event for a person: when by cluster time, what, and about whom."""
    told = ("task_id", "queue", "worker_id", "attempt", "lease_token", "node", "error")
    about = " ".join(f"{name}={_word(event[name])}" for name in told if event[name] is not None)
    return f"{event['time'] / 1000:10.3f}  {event['kind']:<{KIND_WIDTH}}  {about}".rstrip()


def command_line(entry: Object, command: Object) -> str:
    """One command of the log for a person: when, its entry, the node that proposed it, and what."""
    node = str(command.get("origin", "")).partition("/")[0]
    place = f"{entry['index']} {node}".rstrip()
    said = " ".join(f"{name}={_word(value)}" for name, value in _shown(command))
    return f"{entry['wall_time'] or '':<24} [{place}] {command['op']} {said}".rstrip()


async def _show_entries(client: Client, index: int, *, wants_json: bool) -> tuple[int, bool]:
    """Print a page from *index* on; where the next one begins, and whether it has something."""
    try:
        page = await client.call("cluster_log", {"from": index, "limit": PAGE_ENTRIES})
    except EntriesGone as gone:
        click.echo(f"quorate: {gone.detail}; some were missed", err=True)
        return gone.first, True
    for entry in page["entries"]:
        about = {name: value for name, value in entry.items() if name != "commands"}
        for command in entry["commands"]:
            click.echo(as_json(about | command) if wants_json else command_line(entry, command))
        index = entry["index"] + 1
    return index, index <= page["last"]


async def _records(client: Client) -> list[Object]:
    """A row for each kind of record that there is."""
    queues = await client.queues()
    by_status: Counter[Status] = Counter()
    for queue in queues:
        by_status.update(queue["depth"])
    rows = []
    for status, count in by_status.items():
        page = await client.tasks_page(status=status, limit=SHOWN_KEYS) if count else {"tasks": []}
        rows.append(_row(f"tasks:{status}", count, [task["id"] for task in page["tasks"]]))
    rows.append(_row("queues", len(queues), [queue["name"] for queue in queues]))
    workers = await client.workers()
    for worker_status in ("active", "draining", "lost"):
        ids = [worker["id"] for worker in workers if worker["status"] == worker_status]
        rows.append(_row(f"workers:{worker_status}", len(ids), ids))
    members = [member["id"] for member in (await client.cluster())["members"]]
    rows.append(_row("nodes", len(members), members))
    return [row for row in rows if row["count"]]


def _row(key: str, count: int, names: list[str]) -> Object:
    return {"key": key, "count": count, "some": names[:SHOWN_KEYS]}


def _with_more(row: Object) -> list[str]:
    """Its names for a person, who is told that there are more."""
    some: list[str] = row["some"]
    return [*some, "…"] if row["count"] > len(some) else some


def _shown(command: Object) -> Iterator[tuple[str, Any]]:
    """What a line says of a command: of one submitted task its own, of many how many and whose."""
    tasks = command.get("tasks")
    if tasks is not None and len(tasks) != 1:
        yield "tasks", len(tasks)
        for name in ("type", "queue"):
            yield name, sorted({task[name] for task in tasks})
        return
    members = command if tasks is None else tasks[0]
    for name, value in members.items():
        if name not in UNTOLD and value not in ([], {}, 0):
            yield name, value


def _word(value: object) -> str:
    """A value as one word, in quotes if it is none."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    text = value if isinstance(value, str) else as_json(value)
    return as_json(text) if " " in text or not text.isprintable() else text


def _until_stopped(follow: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run until a signal, which is how these commands end: status 0."""

    async def work() -> int:
        await unless_set(stop_signal(), follow())
        return 0

    return run(work())
