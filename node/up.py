"""`quorate up`: a whole cluster on this machine, told as it happens, until Ctrl-C.

Restarts nothing by itself: a process that died stays dead, and is said to have died.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import QuorateError
from node.demo import Demo, curl_commands
from node.local import LocalCluster, LocalSettings
from node.loops import stop_signal, unless_set
from node.narrator import Narrator


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """What to start; *data* None means a temporary directory that goes with us."""

    data: Path | None
    nodes: int
    workers: int
    http_port: int
    lease_seconds: float = 15.0
    modules: tuple[str, ...] = ()
    wants_demo: bool = False
    ends_after_demo: bool = False


class Reporter:
    """Hears the processes and tells the narrator; an exit nobody asked for is told as a death."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self.expected: set[str] = set()  # Processes whose end is part of the plan.
        self.is_stopping = False

    def on_line(self, name: str, line: str) -> None:
        """Pass the line on."""
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
    asked_to_stop = stop_signal()
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
            ),
            reporter,
        )
        async with cluster:
            try:
                living = _live(settings, cluster, reporter, narrator)
                return await unless_set(asked_to_stop, living) or 0
            except (QuorateError, TimeoutError) as error:
                narrator.say("failed", f"{error}.")
                return 1
            finally:
                reporter.is_stopping = True
                narrator.say("stopping", "Stopping every process.")


async def _live(
    settings: UpSettings, cluster: LocalCluster, reporter: Reporter, narrator: Narrator
) -> int:
    started = time.monotonic()
    _tell_places(cluster, narrator)
    await cluster.start()
    leader = await cluster.wait_ready()
    seconds = time.monotonic() - started
    narrator.say(
        "ready",
        f"{settings.nodes} nodes and {settings.workers} workers are up after {seconds:.1f} s;"
        f" {leader} leads.",
        leader=leader,
        seconds=round(seconds, 3),
        urls=list(cluster.urls),
    )
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
        settings.data.mkdir(parents=True, exist_ok=True)
        yield settings.data.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="quorate-", ignore_cleanup_errors=True) as directory:
        narrator.say(
            "data",
            f"The data is in {directory} and goes when this ends; --data DIR keeps it.",
            data=directory,
        )
        yield Path(directory)


def _tell_places(cluster: LocalCluster, narrator: Narrator) -> None:
    wanted = cluster.settings
    for number, (name, place) in enumerate(cluster.places.items()):
        for kind, first, port in (
            ("HTTP", wanted.http_port, place.http_port),
            ("Raft", wanted.raft_port, place.raft_port),
        ):
            if port != first + number:
                narrator.say(
                    "port_taken",
                    f"{kind} port {first + number} is taken, so {name} takes {port}.",
                    node=name,
                    wanted=first + number,
                    port=port,
                )
