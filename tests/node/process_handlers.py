"""Handlers that run in processes: a process imports them, so they are in a file of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from node.context import Context, GiveUp
from node.tasks import task


@task("processes.where", process=True)
def where(_context: Context, _data: object) -> int:
    return os.getpid()


@task("processes.tell", process=True)
def tell(context: Context, steps: int) -> list[object]:
    for step in range(steps):
        context.progress(step)
    context.checkpoint({"row": steps})
    return [context.task_id, context.type, context.attempt, context.last_checkpoint]


@task("processes.remembered", process=True)
def remembered(context: Context, _data: object) -> None:
    _earlier.append(context)


@task("processes.haunted", process=True)
def haunted(context: Context, _data: object) -> None:
    (earlier,) = _earlier
    earlier.progress("not of this run")
    earlier.checkpoint("not of this run")
    context.progress("of this run")


_earlier: list[Context] = []  # Of runs that are over, as a thread that outlives one has it.


@task("processes.broken", process=True)
def broken(_context: Context, message: str) -> None:
    raise ValueError(message)


@task("processes.hopeless", process=True)
def hopeless(_context: Context, message: str) -> None:
    raise GiveUp(message)


@task("processes.ends_early", process=True)
def ends_early(_context: Context, rows: list[int]) -> int:
    return next(iter(rows))


@task("processes.exits", process=True)
def exits(_context: Context, status: int) -> None:
    sys.exit(status)


@task("processes.dies", process=True)
def dies(_context: Context, number: int) -> None:
    os.kill(os.getpid(), number)


@task("processes.vanishes", process=True)
def vanishes(_context: Context, status: int) -> None:
    os._exit(status)


@task("processes.unspeakable", process=True)
def unspeakable(_context: Context, _data: object) -> object:
    return object()


@task("processes.hangs", process=True)
def hangs(_context: Context, path: str) -> None:
    """Hang with a child of its own, deaf to signals; both process ids are in the file."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    written = Path(path).with_suffix(".new")
    written.write_text(f"{os.getpid()} {child.pid}")
    written.rename(path)
    while True:
        time.sleep(1)


@task("hang", process=True)
def hang(context: Context, _data: object) -> None:
    context.progress("begun")
    time.sleep(60)
