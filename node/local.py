"""A whole cluster on this machine: nodes and workers as child processes.

The one supervisor that `quorate up`, the tests and the chaos experiments share. It restarts nothing
by itself and prints nothing: what happens is told to its `Listener`.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from cluster.errors import ConfigurationError, QuorateError
from gateway.client import Client, Object
from node.children import Child
from node.ports import free_ports
from node.waiting import wait_until

HOST = "127.0.0.1"
HTTP_PORT = 5000
RAFT_PORT = 7600
STOP_TIMEOUT_SECONDS = 30.0  # A worker's drain included.
READY_TIMEOUT_SECONDS = 60.0


class ProcessDied(QuorateError):
    """A child process ended when it was needed. The message says which, and its last words."""


class Listener(Protocol):
    """Who is told what the processes do; called on the loop, must not block."""

    def on_line(self, name: str, line: str) -> None:
        """A process wrote a line."""

    def on_exit(self, name: str, status: int) -> None:
        """A process ended; *status* is negative for a signal."""


class Silent:
    """Hears everything, says nothing: the logs are in the data directory all the same."""

    def on_line(self, name: str, line: str) -> None:
        """Ignore it."""

    def on_exit(self, name: str, status: int) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What to start, and where."""

    data: Path
    nodes: int = 3
    workers: int = 3
    http_port: int = HTTP_PORT
    raft_port: int = RAFT_PORT
    modules: tuple[str, ...] = ()  # What the workers serve; none: the built-in types.
    slots: int = 4
    lease_seconds: float = 15.0


class Place(NamedTuple):
    """Where a node listens on this machine, for as long as the cluster lives."""

    http_port: int
    raft_port: int

    @property
    def url(self) -> str:
        """Its gateway's address."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def raft(self) -> str:
        """Its Raft address."""
        return f"{HOST}:{self.raft_port}"


class LocalCluster:
    """Three nodes and their workers, say; leaving the context ends every process of it."""

    def __init__(self, settings: LocalSettings, listener: Listener | None = None) -> None:
        self.settings = settings
        self.listener = listener or Silent()
        self.places = _find_places(settings)
        self.children: dict[str, Child] = {}  # The newest process of each name, ended ones too.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def urls(self) -> tuple[str, ...]:
        """Every node's gateway, running or not."""
        return tuple(place.url for place in self.places.values())

    @property
    def worker_names(self) -> tuple[str, ...]:
        """The workers that the settings ask for; more may be started."""
        return tuple(f"worker{number}" for number in range(1, self.settings.workers + 1))

    async def start(self) -> None:
        """Start every node, then every worker; none of them is waited for."""
        for name in self.places:
            await self.start_node(name)
        for name in self.worker_names:
            await self.start_worker(name)

    async def start_node(self, name: str) -> Child:
        """Start a node, or start it again on what its data directory holds."""
        place = self.places[name]
        members = ",".join(f"{node}={place.raft}" for node, place in self.places.items())
        http = f"{HOST}:{place.http_port}"
        return await self._start(
            name,
            "node",
            *("--id", name, "--cluster", members, "--http", http),
            *("--data", str(self.settings.data / name)),
            *("--lease-seconds", str(self.settings.lease_seconds)),
        )

    async def start_worker(self, name: str) -> Child:
        """Start a worker that knows every gateway."""
        options = ("--url", ",".join(self.urls), "--slots", str(self.settings.slots))
        return await self._start(name, "worker", *self.settings.modules, "--name", name, *options)

    async def wait_ready(self, *, timeout_seconds: float = READY_TIMEOUT_SECONDS) -> str:
        """Wait until every running node follows one leader and knows every running worker.

        Returns:
            The leader's name.

        Raises:
            ProcessDied: a process ended meanwhile; waiting on would be in vain.
            TimeoutError: the time was up; says what the nodes answered last.
        """
        nodes = [name for name in self.places if self._is_running(name)]
        workers = [name for name in self.children if name not in self.places]
        workers = [name for name in workers if self._is_running(name)]

        async def common_leader() -> str | None:
            self._refuse_the_dead([*nodes, *workers])
            views = [await self.view(name) for name in nodes]
            leaders = {view["leader"] if view["quorum"] else None for view in views if view}
            if None in views or len(leaders) != 1:
                return None
            if workers and not await self._are_joined(nodes[0], workers):
                return None
            return leaders.pop()

        what = f"{', '.join([*nodes, *workers])} to be ready"
        return await wait_until(common_leader, what=what, timeout_seconds=timeout_seconds)

    async def view(self, name: str) -> Object | None:
        """A node's own view of the cluster, None while it does not answer."""
        async with self.client(name) as client:
            try:
                return await client.cluster()
            except QuorateError:
                return None

    def client(self, name: str, *, patience_seconds: float = 0) -> Client:
        """Make a client of one node alone; by default it asks once."""
        return Client(self.places[name].url, patience_seconds=patience_seconds)

    async def kill(self, name: str) -> None:
        """SIGKILL a process and wait for its end."""
        await self.children[name].kill()

    def freeze(self, name: str) -> None:
        """SIGSTOP a process: it holds its connections and does nothing, until `thaw`."""
        self.children[name].signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self.children[name].signal(signal.SIGCONT)

    async def stop(self) -> None:
        """End every process: workers first, while there are nodes to hand their tasks back to."""
        workers = [child for name, child in self.children.items() if name not in self.places]
        nodes = [child for name, child in self.children.items() if name in self.places]
        for group in (workers, nodes):
            await asyncio.gather(
                *(child.stop(timeout_seconds=STOP_TIMEOUT_SECONDS) for child in group)
            )

    def _is_running(self, name: str) -> bool:
        return name in self.children and self.children[name].is_running

    def _refuse_the_dead(self, names: Iterable[str]) -> None:
        for name in names:
            if not self._is_running(name):
                log = self.settings.data / "logs" / f"{name}.log"
                last_line = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[
                    -1
                ]
                raise ProcessDied(f"{name} ended at its start; its last words: {last_line}")

    async def _are_joined(self, node: str, names: Iterable[str]) -> bool:
        async with self.client(node) as client:
            try:
                joined = {w["name"] for w in await client.workers() if w["status"] == "active"}
            except QuorateError:
                return False
        return joined.issuperset(names)

    async def _start(self, name: str, *arguments: str) -> Child:
        running = self.children.get(name)
        assert running is None or not running.is_running, f"{name} is already running"
        logs = self.settings.data / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        child = await Child.start(
            name,
            arguments,
            log=logs / f"{name}.log",
            on_line=self.listener.on_line,
            on_exit=self.listener.on_exit,
        )
        self.children[name] = child
        return child


def _find_places(settings: LocalSettings) -> dict[str, Place]:
    """Give every node the next free ports from where it was asked to begin."""
    http_ports = list(itertools.islice(free_ports(HOST, settings.http_port), settings.nodes))
    raft_ports = (port for port in free_ports(HOST, settings.raft_port) if port not in http_ports)
    places = {
        f"node{number}": Place(http_port, raft_port)
        for number, (http_port, raft_port) in enumerate(
            zip(http_ports, raft_ports, strict=False), start=1
        )
    }
    if len(places) < settings.nodes:
        raise ConfigurationError(
            f"{settings.nodes} nodes find too few free ports: take a lower one"
        )
    return places
