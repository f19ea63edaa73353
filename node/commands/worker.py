"""`quorate worker`: a process that runs tasks. It loads nothing of a node's, and starts sooner."""

from __future__ import annotations

import gc

import click

from cluster.core.model import SLOTS_MAX
from node.commands.options import SECONDS_MAX, Number, log_level_option, option, url_option
from node.log import configure_logging
from node.loops import run
from node.tasks import load_handlers
from node.worker import TaskWorker, WorkerSettings, default_name

BUILT_IN = "node.handlers"


@click.command()
@click.argument("modules", metavar="[MODULE]...", nargs=-1, envvar="QUORATE_MODULES")
@url_option
@option(
    "--slots",
    variable="QUORATE_SLOTS",
    type=click.IntRange(1, SLOTS_MAX),
    default=4,
    show_default=True,
    help="How many tasks to run at once.",
)
@option(
    "--queues",
    variable="QUORATE_QUEUES",
    help="Queues to serve, comma-separated; by default those that the handlers name, and default.",
)
@option(
    "--tags", variable="QUORATE_TAGS", default="", help="What tasks may require, comma-separated."
)
@option("--name", variable="QUORATE_NAME", help="How to be listed; by default host and process id.")
@option(
    "--drain-seconds",
    variable="QUORATE_DRAIN_SECONDS",
    type=Number(0, SECONDS_MAX),
    default=20.0,
    show_default=True,
    help="How long running tasks may take to end once asked to stop; the rest is handed back.",
)
@log_level_option
def worker(
    *,
    modules: tuple[str, ...],
    url: str,
    slots: int,
    queues: str | None,
    tags: str,
    name: str | None,
    drain_seconds: float,
    log_level: str,
) -> int:
    """A worker that runs tasks, until SIGTERM or Ctrl-C.

    MODULE holds handlers made with @task, and is imported from the path or the working directory;
    without one, the built-in types are served: process, calculate, echo, sleep, fail, noop.
    Modules can also be named in QUORATE_MODULES, with spaces between them.
    """
    name = name or default_name()
    configure_logging(name, level=log_level)
    handlers = load_handlers(modules or (BUILT_IN,))
    settings = WorkerSettings(
        urls=url,
        name=name,
        slots=slots,
        queues=None if queues is None else _split(queues),
        tags=_split(tags),
        drain_seconds=drain_seconds,
    )
    gc.collect()
    gc.freeze()  # What was imported stays: no collection, of many a second, need look at it.
    return run(TaskWorker(handlers.values(), settings).run_until_signal())


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))
