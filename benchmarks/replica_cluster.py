"""Three nodes of the replica's benchmark as processes, with relays between them where asked for."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.control import OperationFailed, Process
from chaos.relay import HOST, Relay

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"  # On the repository's disk, and ignored by git.
NODES = ("node1", "node2", "node3")
READY_SECONDS = 30.0
_POLL_SECONDS = 0.005

_prefixes = itertools.count(1)


def next_prefix() -> int:
    """A number that no other submission of this run begins its ids with."""
    return next(_prefixes)


@asynccontextmanager
async def scratch_directory() -> AsyncIterator[Path]:
    """A directory on the repository's disk that is gone afterwards."""
    DATA.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="benchmark-", dir=DATA))
    try:
        yield path
    finally:
        shutil.rmtree(path)


class ReplicaCluster:
    """Start it with `running`. Names are the nodes' ids."""

    def __init__(self, machine: str, data: Path) -> None:
        self.machine = machine
        self.data = data
        self.processes: dict[str, Process] = {}
        self.relays: dict[tuple[str, str], Relay] = {}  # By who dials whom.
        ports = free_ports(len(NODES))
        self._addresses = {name: f"{HOST}:{port}" for name, port in zip(NODES, ports, strict=True)}

    async def start(self, *, is_relayed: bool) -> None:
        """Start every node and wait until they have formed a cluster."""
        if is_relayed:
            # Either of a pair may dial the other: each has a relay of its own to do it through.
            for way in itertools.permutations(NODES, 2):
                self.relays[way] = await Relay.start(self._addresses[way[1]])
        for name in NODES:
            await self.start_node(name)
        for name in NODES:
            await self.wait_following(name)

    async def start_node(self, name: str) -> None:
        """Start a node, or start it again on what its directory holds."""
        self.processes[name] = await Process.start(
            Path(__file__).with_name("replica_node.py"),
            {
                "node_id": name,
                "members": self.members_of(name),
                "data": str(self.data / name),
                "machine": self.machine,
            },
        )

    async def stop(self) -> None:
        """Kill every node and stop every relay."""
        await asyncio.gather(*(process.kill() for process in self.processes.values()))
        await asyncio.gather(*(relay.stop() for relay in self.relays.values()))

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    async def leader(self) -> str:
        """Wait until one node leads and the other two follow it; its name."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                views = [await self[name].ask("status") for name in NODES]
                leaders = {view["leader"] for view in views if view["has_quorum"]}
                terms = {view["term"] for view in views}
                if len(leaders) == len(terms) == 1 and None not in leaders:
                    name = str(leaders.pop())
                    if (await self[name].ask("status"))["is_leader"]:
                        return name
                await asyncio.sleep(_POLL_SECONDS)

    def followers(self, leader: str) -> list[str]:
        """The other two."""
        return [name for name in NODES if name != leader]

    async def wait_following(self, name: str) -> None:
        """Wait until *name* has applied all that is committed by now."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    await self[name].ask("read", timeout_seconds=1.0)
                except OperationFailed:
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return

    def isolate(self, name: str) -> float:
        """Blackhole every link of *name*; when, by the monotonic clock."""
        for relay in self._relays_of(name):
            relay.drop()
        return time.monotonic()

    async def heal(self, name: str) -> float:
        """Undo `isolate`; when."""
        for relay in self._relays_of(name):
            await relay.heal()
        return time.monotonic()

    async def term(self) -> int:
        """The highest term that any node knows."""
        return max([int((await self[name].ask("status"))["term"]) for name in NODES])

    async def load(self, name: str, **options: Any) -> dict[str, Any]:
        """Put load on one node, and account for what it cost: see `benchmarks.load`."""
        before = {each: self[each].cpu_seconds() for each in NODES}
        result: dict[str, Any] = await self[name].ask("load", prefix=next_prefix(), **options)
        spent = {each: self[each].cpu_seconds() - before[each] for each in NODES}
        spent[name] = result["cpu_seconds"]  # Without making the commands.
        leader = await self.leader()
        thousands = max(result["operations"], 1) / 1_000
        result["cpu_seconds_per_1000"] = {
            "leader": round(spent.pop(leader) / thousands, 4),
            "follower": round(max(spent.values()) / thousands, 4),
        }
        return result

    def members_of(self, name: str) -> dict[str, str]:
        """Where *name* reaches each node, through its relays where there are some."""
        return {
            other: self.relays[name, other].address if (name, other) in self.relays else address
            for other, address in self._addresses.items()
        }

    def _relays_of(self, name: str) -> list[Relay]:
        return [relay for way, relay in self.relays.items() if name in way]


@asynccontextmanager
async def running(machine: str, *, is_relayed: bool = False) -> AsyncIterator[ReplicaCluster]:
    """A cluster that is ready, and ends with the context."""
    async with scratch_directory() as data:
        cluster = ReplicaCluster(machine, data)
        try:
            await cluster.start(is_relayed=is_relayed)
            yield cluster
        finally:
            await cluster.stop()


async def acknowledged(process: Process, *, timeout_seconds: float = 10.0) -> float:
    """When the next write through *process* is acknowledged; one that fails is repeated."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            try:
                return float((await process.ask("propose", prefix=next_prefix()))["at"])
            except OperationFailed:
                continue


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
