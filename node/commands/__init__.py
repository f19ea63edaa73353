"""The command line: its commands by name, each loaded when it is called.

Exit status: 0 done, 1 failed, 2 misused. Expected errors are one line on standard error.
"""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import os
import sys
from typing import NamedTuple

import click
from click.shell_completion import shell_complete

from cluster.errors import ConfigurationError, QuorateError
from gateway.client_errors import RequestRefused
from node.cli import INTERRUPTED

ENTRY_POINTS = "quorate.commands"  # Where packages above this one, chaos, offer theirs.
# Of those, so that the list loads none.
SUMMARIES = {"chaos": "Break clusters, and judge what held"}
COMPLETION_VARIABLE = "_QUORATE_COMPLETE"  # Set by a shell's completion, as click has it.
UNPROCESSABLE = 422
UNWRITABLE = frozenset({errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC})


class Home(NamedTuple):
    """Where a command lives, and its line in the list."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "up": Home("node.commands.up", "up", "A whole cluster on this machine, until Ctrl-C"),
    "node": Home("node.commands.node", "node", "One coordinator with its gateway"),
    "gateway": Home("node.commands.gateway", "gateway", "A gateway alone: no vote, no data"),
    "worker": Home("node.commands.worker", "worker", "A worker that runs tasks"),
    "submit": Home("node.commands.submitting", "submit", "Submit a task, or a file of them"),
    "task": Home("node.commands.tasks", "show_task", "Show one task, or its timeline"),
    "tasks": Home("node.commands.tasks", "list_tasks", "List tasks, newest first"),
    "cancel": Home("node.commands.tasks", "cancel", "Cancel tasks"),
    "retry": Home("node.commands.tasks", "retry", "Put tasks back that ended without a result"),
    "queues": Home("node.commands.queues", "queues", "List queues; pause, resume or purge one"),
    "dlq": Home("node.commands.dead_letters", "dlq", "List dead letters; put back or remove them"),
    "workers": Home("node.commands.workers", "workers", "List workers, or drain one"),
    "events": Home("node.commands.watching", "events", "Follow what happens"),
    "monitor": Home("node.commands.watching", "monitor", "Follow the replicated log"),
    "keys": Home("node.commands.watching", "keys", "Show what records there are"),
    "cluster": Home("node.commands.cluster", "cluster", "Show the nodes, or change who they are"),
}


class LazyGroup(click.Group):
    """Commands that cost nothing until they are called: `quorate --version` loads none."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(_offered_elsewhere())]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        home = COMMANDS.get(name)
        if home is None:
            entry = _offered_elsewhere().get(name)
            return None if entry is None else _as_command(entry.load())
        return _as_command(getattr(importlib.import_module(home.module), home.attribute))

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, home.summary) for name, home in COMMANDS.items()]
        for name, entry in sorted(_offered_elsewhere().items()):
            summary = SUMMARIES.get(name) or _as_command(entry.load()).get_short_help_str()
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="quorate", message="quorate %(version)s")
def quorate() -> None:
    """A durable task queue that replicates itself."""


def run() -> int:
    """Run what the arguments ask for and return the exit status."""
    if sys.stdout is None:  # It was closed: writing must fail, and no socket take its place.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    try:
        return _run()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigurationError as error:
        return _complain(error, status=2)
    except RequestRefused as error:
        return _complain(error, status=2 if error.status == UNPROCESSABLE else 1)
    except QuorateError as error:
        return _complain(error, status=1)
    except click.Abort:
        return INTERRUPTED
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":
            raise
        return _complain(f"an argument is not UTF-8: {error.object!r}", status=2)
    except BrokenPipeError:
        _give_output_up()
        return 0  # Our reader has seen enough.
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        _give_output_up()
        return _complain(f"the output cannot be written: {error.strerror}", status=1)


def _run() -> int:
    """As click's `main`, which makes a failure of a reader that has gone."""
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        return shell_complete(quorate, {}, "quorate", COMPLETION_VARIABLE, instruction)
    try:
        with quorate.make_context("quorate", sys.argv[1:]) as context:
            status = quorate.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return status if isinstance(status, int) else 0


def _give_output_up() -> None:
    """Have nothing fail once more when the interpreter flushes what was not written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: object, *, status: int) -> int:
    click.echo(f"quorate: {error}", err=True)
    return status


def _offered_elsewhere() -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _as_command(found: object) -> click.Command:
    assert isinstance(found, click.Command)
    return found
