"""`quorate up`: a whole cluster on this machine, told as it happens, until Ctrl-C.

Restarts nothing by itself: a process that died stays dead, and is said to have died.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ConfigurationError, QuorateError
from node.demo import Demo, curl_commands
from node.local import LocalCluster, LocalSettings
from node.loops import stop_signals, unless_set
from node.narrator import Narrator, is_routine

_FORM = "up.json"  # In the data directory: how many nodes it was made for.


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """What to start; *data* None means a temporary directory that goes with us."""

    data: Path | None
    nodes: int
    workers: int
    http_port: int
    lease_seconds: float = 15.0
    memory_bytes_max: int | None = None
    modules: tuple[str, ...] = ()
    wants_demo: bool = False
    ends_after_demo: bool = False


class Reporter:
    """Hears the processes and tells the narrator; an exit nobody asked for is told as a death."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self.expected: set[str] = set()  # Processes whose end is part of the plan.
        self.is_stopping = False
        self.nodes: set[str] = set()  # Whose routine nobody needs to follow while all stops.

    def on_line(self, name: str, line: str) -> None:
        """Pass the line on; who leads a cluster that is being stopped is no news."""
        if self.is_stopping and name in self.nodes and is_routine(line):
            return
        self._narrator.line(name, line)

    def on_exit(self, name: str, status: int) -> None:
        """Tell of a death; an end that was asked for needs no words."""
        if self.is_stopping or name in self.expected:
            return
        how = f"of {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        self._narrator.say(
            "died",
            f"{name} died {how}; it is not started again by itself.",
            process=name,
            status=status,
        )


async def run_up(settings: UpSettings, narrator: Narrator) -> int:
    """Run the cluster until a signal, or to the end of the story; return the exit status."""
    asked_to_stop, asked_again = stop_signals()
    with _data_directory(settings, narrator) as data:
        reporter = Reporter(narrator)
        cluster = LocalCluster(
            LocalSettings(
                data=data,
                nodes=settings.nodes,
                workers=settings.workers,
                http_port=settings.http_port,
                modules=settings.modules,
                lease_seconds=settings.lease_seconds,
                memory_bytes_max=settings.memory_bytes_max,
            ),
            reporter,
        )
        reporter.nodes.update(cluster.places)
        async with cluster:
            try:
                living = _live(settings, cluster, reporter, narrator)
                return await unless_set(asked_to_stop, living) or 0
            except (QuorateError, TimeoutError) as error:
                narrator.say("failed", f"{error}.")
                return 1
            finally:
                reporter.is_stopping = True
                narrator.say("stopping", "Stopping every process; Ctrl-C again kills them.")
                await unless_set(asked_again, cluster.stop())
                if asked_again.is_set():
                    narrator.say("killing", "Killing what still runs.")
                    await cluster.kill_all()


async def _live(
    settings: UpSettings, cluster: LocalCluster, reporter: Reporter, narrator: Narrator
) -> int:
    started = time.monotonic()
    _tell_places(cluster, narrator)
    await cluster.start()
    leader = await cluster.wait_ready()
    seconds = time.monotonic() - started
    _tell_who_is_missing(cluster, narrator)
    up = len(cluster.places) - len(cluster.given_up)
    are = "is" if up + settings.workers == 1 else "are"
    narrator.say(
        "ready",
        f"{_counted(up, 'node')} and {_counted(settings.workers, 'worker')} {are} up"
        f" after {seconds:.1f} s; {leader} leads.",
        leader=leader,
        seconds=round(seconds, 3),
        urls=list(cluster.urls),
    )
    if settings.wants_demo and cluster.given_up:
        raise QuorateError(f"the story needs every node, and {', '.join(cluster.given_up)} is out")
    if settings.wants_demo:
        await Demo(cluster, narrator, reporter.expected).tell()
        if settings.ends_after_demo:
            return 0
    narrator.say("commands", curl_commands(cluster.urls[0]))
    narrator.say("running", "Press Ctrl-C to stop.")
    await asyncio.Event().wait()
    return 0


@contextlib.contextmanager
def _data_directory(settings: UpSettings, narrator: Narrator) -> Iterator[Path]:
    if settings.data is not None:
        _prepare(settings.data, nodes=settings.nodes)
        yield settings.data.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="quorate-", ignore_cleanup_errors=True) as directory:
        narrator.say(
            "data",
            f"The data is in {directory} and goes when this ends; --data DIR keeps it.",
            data=directory,
        )
        yield Path(directory)


def _prepare(data: Path, *, nodes: int) -> None:
    """Make the directory, or hold that it was made for as many nodes.

    Raises:
        ConfigurationError: it cannot be used, or not with as many.
    """
    form = data / _FORM
    try:
        data.mkdir(parents=True, exist_ok=True)
        made_for = _nodes_in(data)
        if made_for is None:
            form.write_text(json.dumps({"nodes": nodes}) + "\n")
    except OSError as error:
        raise ConfigurationError(f"--data {data} cannot be used: {error.strerror}") from None
    if made_for is not None and made_for != nodes:
        raise ConfigurationError(
            f"--data {data} holds a cluster of {_counted(made_for, 'node')}, not of {nodes}:"
            f" give it --nodes {made_for}, or take another directory"
        )
    if not os.access(data, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--data {data} cannot be used: it may not be written to")


def _nodes_in(data: Path) -> int | None:
    """How many nodes the directory was made for; None when it is new."""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return int(json.loads((data / _FORM).read_text())["nodes"])
    # Made before we noted it, or the note is damaged: then what is there counts.
    names = {entry.name for entry in data.iterdir() if entry.is_dir()}
    numbers = (name.removeprefix("node") for name in names if name.startswith("node"))
    return max((int(number) for number in numbers if number.isdecimal()), default=None)


def _tell_places(cluster: LocalCluster, narrator: Narrator) -> None:
    for passed in cluster.ports_passed_over:
        first, last = passed.ports[0], passed.ports[-1]
        are_taken = f"port {first} is" if first == last else f"ports {first} to {last} are"
        narrator.say(
            "port_taken",
            f"{passed.kind} {are_taken} taken, so {passed.node} takes {passed.instead}.",
            node=passed.node,
            wanted=first,
            port=passed.instead,
        )


def _tell_who_is_missing(cluster: LocalCluster, narrator: Narrator) -> None:
    for name, reason in cluster.given_up.items():
        narrator.say(
            "given_up",
            f"{name} cannot start, and the others go on without it: {reason}.",
            node=name,
            reason=reason,
        )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
