"""A whole cluster on this machine: nodes and workers as child processes.

The one supervisor that `quorate up`, the tests and the chaos experiments share. It restarts nothing
by itself and prints nothing: what happens is told to its `Listener`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from cluster.errors import ConfigurationError, QuorateError
from cluster.settings import ELECTION_SECONDS
from gateway.caller import Object
from gateway.client import Client
from node.children import QUORATE, Child
from node.memory import memory_bytes_default
from node.places import HOST, HTTP_PORT, RAFT_PORT, PassedOver, find_places, passed_over
from node.waiting import wait_until

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
    election_seconds: float = ELECTION_SECONDS
    memory_bytes_max: int | None = None  # Of each node; None: what this machine has for so many.
    node_program: tuple[str, ...] = QUORATE  # What a node is run as: see `Child.start`.


class LocalCluster:
    """Three nodes and their workers, say; leaving the context ends every process of it."""

    def __init__(self, settings: LocalSettings, listener: Listener | None = None) -> None:
        self.settings = settings
        self.listener = listener or Silent()
        self.places = find_places(
            settings.nodes, http_port=settings.http_port, raft_port=settings.raft_port
        )
        self.children: dict[str, Child] = {}  # The newest process of each name, ended ones too.
        self.given_up: dict[str, str] = {}  # Nodes that the start went on without, and why.
        # Where a node reaches another, if not at its own address: by who dials whom. Set before the
        # start, by whoever puts something between them.
        self.detours: dict[tuple[str, str], str] = {}
        self._ended_on_purpose: set[str] = set()
        self._last_lines: dict[str, str] = {}

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
    def ports_passed_over(self) -> Iterator[PassedOver]:
        """The ports that other programs held when ours were chosen."""
        settings = self.settings
        return passed_over(self.places, http_port=settings.http_port, raft_port=settings.raft_port)

    @property
    def worker_names(self) -> tuple[str, ...]:
        """The workers that the settings ask for; more may be started."""
        return tuple(f"worker{number}" for number in range(1, self.settings.workers + 1))

    async def start(self, *, timeout_seconds: float = READY_TIMEOUT_SECONDS) -> None:
        """Start every node, and once all of them listen, every worker.

        Workers come after: an address on which a node of ours does not listen may be another's. A
        node whose data is damaged is given up while a majority is whole.

        Raises:
            ProcessDied: another node ended, or too few are left.
            TimeoutError: the time was up.
        """
        for name in self.places:
            await self.start_node(name)

        async def all_listen() -> bool:
            self._refuse_the_dead(self.places)
            return all(self._is_listening(name) for name in self._called_for(self.places))

        names = ", ".join(self.places)
        await wait_until(all_listen, what=f"{names} to listen", timeout_seconds=timeout_seconds)
        for name in self.worker_names:
            await self.start_worker(name)

    async def start_node(self, name: str) -> Child:
        """Start a node, or start it again on what its data directory holds."""
        place = self.places[name]
        members = ",".join(
            f"{node}={self.detours.get((name, node), there.raft)}"
            for node, there in self.places.items()
        )
        http = f"{HOST}:{place.http_port}"
        memory_bytes_max = self.settings.memory_bytes_max or memory_bytes_default(
            nodes=self.settings.nodes
        )
        return await self._start(
            name,
            "node",
            *("--id", name, "--cluster", members, "--http", http),
            *("--data", str(self.settings.data / name)),
            *("--lease-seconds", str(self.settings.lease_seconds)),
            *("--election-seconds", str(self.settings.election_seconds)),
            *("--memory-bytes-max", str(memory_bytes_max)),
        )

    async def start_worker(self, name: str) -> Child:
        """Start a worker that knows the gateway of every node that was not given up."""
        urls = (place.url for node, place in self.places.items() if node not in self.given_up)
        options = ("--url", ",".join(urls), "--slots", str(self.settings.slots))
        return await self._start(name, "worker", *self.settings.modules, "--name", name, *options)

    async def wait_ready(self, *, timeout_seconds: float = READY_TIMEOUT_SECONDS) -> str:
        """Wait until every node follows one leader and knows every worker, those killed apart.

        Only processes of ours are heard: a node counts once it has announced that it listens
        itself, a worker by the session that it has announced.

        Returns:
            The leader's name.

        Raises:
            ProcessDied: a process ended that nobody asked to; waiting on would be in vain.
            TimeoutError: the time was up.
        """
        started = self._called_for(self.children)

        async def common_leader() -> str | None:
            self._refuse_the_dead(started)
            nodes = [name for name in self._called_for(started) if name in self.places]
            workers = [name for name in started if name not in self.places]
            if not all(map(self._is_listening, nodes)):
                return None
            views = [await self.view(name) for name in nodes]
            leaders = {view["leader"] if view["quorum"] else None for view in views if view}
            if None in views or len(leaders) != 1:
                return None
            if workers and not await self._are_joined(nodes[0], workers):
                return None
            self._refuse_the_dead(started)
            return leaders.pop()

        what = f"{', '.join(started)} to be ready"
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
        self._ended_on_purpose.add(name)
        await self.children[name].kill()

    def freeze(self, name: str) -> None:
        """SIGSTOP a process: it holds its connections and does nothing, until `thaw`."""
        self.children[name].signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self.children[name].signal(signal.SIGCONT)

    async def stop(self) -> None:
        """End every process: workers first, while there are nodes to hand their tasks back to."""
        self._ended_on_purpose.update(self.children)
        workers = [child for name, child in self.children.items() if name not in self.places]
        nodes = [child for name, child in self.children.items() if name in self.places]
        for group in (workers, nodes):
            await asyncio.gather(
                *(child.stop(timeout_seconds=STOP_TIMEOUT_SECONDS) for child in group)
            )

    async def kill_all(self) -> None:
        """SIGKILL every process and wait for their ends."""
        await asyncio.gather(*(self.kill(name) for name in self.children))

    def _called_for(self, names: Iterable[str]) -> list[str]:
        left = self._ended_on_purpose.union(self.given_up)
        return [name for name in names if name not in left]

    def _is_listening(self, name: str) -> bool:
        child = self.children[name]
        return child.is_running and child.announcements.get("listening") is not None

    def _refuse_the_dead(self, names: Iterable[str]) -> None:
        for name in self._called_for(names):
            child = self.children[name]
            if child.is_running or not child.is_heard_out:
                continue
            reason = child.announcements.get("damaged")
            if reason is None or not self._can_go_on_without(name):
                last_words = self._last_lines.get(name, "nothing").removeprefix("quorate: ")
                raise ProcessDied(f"{name} ended at its start; its last words: {last_words}")
            self.given_up[name] = reason

    def _can_go_on_without(self, name: str) -> bool:
        whole = len(self.places.keys() - self.given_up.keys() - {name})
        return whole > len(self.places) // 2

    async def _are_joined(self, node: str, names: Iterable[str]) -> bool:
        sessions = {self.children[name].announcements.get("session") for name in names}
        async with self.client(node) as client:
            try:
                joined = {w["id"] for w in await client.workers() if w["status"] == "active"}
            except QuorateError:
                return False
        return joined.issuperset(sessions)

    def _on_line(self, name: str, line: str) -> None:
        if line.strip():
            self._last_lines[name] = line.strip()
        self.listener.on_line(name, line)

    async def _start(self, name: str, *arguments: str) -> Child:
        running = self.children.get(name)
        assert running is None or not running.is_running, f"{name} is already running"
        self._ended_on_purpose.discard(name)
        self.given_up.pop(name, None)
        self._last_lines.pop(name, None)
        child = await Child.start(
            name,
            arguments,
            log=_log_file(self.settings.data, name),
            on_line=self._on_line,
            on_exit=self.listener.on_exit,
            program=self.settings.node_program if name in self.places else QUORATE,
        )
        self.children[name] = child
        return child


def _log_file(data: Path, name: str) -> Path:
    """Make sure that the process's log can be written, and say where it is.

    Raises:
        ConfigurationError: it cannot.
    """
    file = data / "logs" / f"{name}.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from None
    return file
