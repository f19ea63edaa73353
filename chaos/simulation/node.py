"""A simulated node: the real replica in a process that can be killed, on a machine that stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from chaos.simulation.host import SimulatedHost
from chaos.simulation.loop import SimulatedLoop
from chaos.simulation.network import Network
from chaos.simulation.world import World
from cluster.errors import QuorateError, StorageDamaged, StorageMismatch
from cluster.host import Host
from cluster.raft.engine import Engine
from cluster.raft.membership import Configuration, unpack
from cluster.recovery import Recovered
from cluster.replica import Replica
from cluster.settings import ReplicaSettings

RAFT_PORT = 7000
EXIT_SECONDS = 0.01  # From seeing that the node must stop to the end of its process.

Operation = Callable[[Replica], Awaitable[Any]]


class Witness(Protocol):
    """Whoever watches what nodes do: the judge, the narrator."""

    def started(self, node: SimulatedNode) -> None:
        """Its replica recovered and joined."""

    def applied(
        self, node: SimulatedNode, index: int, term: int, command: bytes | None, state_hash: bytes
    ) -> None:
        """It applied one entry."""

    def configured(self, node: SimulatedNode, index: int, configuration: Configuration) -> None:
        """It applied an entry that says who the members are."""

    def moved(self, node: SimulatedNode) -> None:
        """A turn of its engine is over."""

    def ended(self, node: SimulatedNode, why: str) -> None:
        """Its process is gone."""

    def failed(self, node: SimulatedNode, error: BaseException) -> None:
        """It stopped by itself, or would not start."""

    def went_wrong(self, node: SimulatedNode, context: dict[str, Any]) -> None:
        """An exception that nobody caught."""


class WatchedReplica(Replica):
    """The replica, its every step told to a witness."""

    node: SimulatedNode

    def __init__(self, settings: ReplicaSettings, *, host: Host, recovered: Recovered) -> None:
        assert isinstance(host, NodeHost)
        self.node = host.node
        super().__init__(settings, host=host, recovered=recovered)

    @property
    def engine(self) -> Engine:
        """The consensus state, for whoever judges it."""
        return self._engine

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        super().apply(index, term, command)
        witness = self.node.witness
        witness.applied(self.node, index, term, command, self.machine.state_hash)
        if command is None:
            for content, at, _ in self._engine.log.configurations:
                if at == index:
                    witness.configured(self.node, index, unpack(content))

    def engine_moved(self) -> None:
        super().engine_moved()
        self.node.witness.moved(self.node)


class NodeHost(SimulatedHost):
    """A machine that knows which node it carries."""

    node: SimulatedNode


class SimulatedNode:
    """One member: at most one process at a time."""

    def __init__(
        self,
        world: World,
        network: Network,
        host: NodeHost,
        members: Mapping[str, str],
        witness: Witness,
        *,
        lease_seconds: float,
        segment_bytes: int,
        snapshot_bytes: int,
        tail_entries: int,
    ) -> None:
        self.name = host.name
        self.host = host
        self.witness = witness
        self.replica: WatchedReplica | None = None
        self.process: SimulatedLoop | None = None
        self.is_powered = True
        self.refuses_to_start: str | None = None  # Its disk is damaged: for a person to mend.
        self.has_exited = False  # By itself, to be started again by whoever supervises it.
        self.starts = 0
        self._world = world
        self._network = network
        self._settings = ReplicaSettings(
            node_id=self.name,
            members=members,
            data=Path(self.name),
            http=f"{self.name}:8000",
            lease_seconds=lease_seconds,
            segment_bytes=segment_bytes,
            snapshot_bytes=snapshot_bytes,
            tail_entries=tail_entries,
        )
        self._calls: dict[int, Callable[[], None]] = {}
        self._call_count = 0
        host.node = self

    @property
    def is_up(self) -> bool:
        """Whether its process exists."""
        return self.process is not None

    @property
    def is_serving(self) -> bool:
        """Whether its replica has started and its process runs."""
        return self.replica is not None and self.process is not None and self.process.can_run

    # Life and death.

    def start(self) -> None:
        """Begin a new process; without effect if there is one, or a damaged disk."""
        if self.is_up or self.refuses_to_start:
            return
        if not self.is_powered:
            self.is_powered = True
            self._network.power_restored(self.name)
        self.starts += 1
        self.host.disk.is_abandoned = False
        self.process = SimulatedLoop(
            self._world,
            self.name,
            sockets=self._network,
            work_seconds=self.host.disk.work_seconds,
            on_error=lambda context: self.witness.went_wrong(self, context),
        )
        self.process.start(self._main())

    def renew(self) -> None:
        """Do what the message of a damaged disk says: move the directory away, and start."""
        if self.refuses_to_start:
            self.refuses_to_start = None
            self.host.disk.wipe()
        self.start()

    async def _main(self) -> None:
        try:
            replica = await WatchedReplica.start(self._settings, self.host)
        except (QuorateError, OSError) as problem:
            if isinstance(problem, StorageDamaged | StorageMismatch):
                self.refuses_to_start = str(problem)
            self.witness.failed(self, problem)
            self._end("exit")
            return
        assert isinstance(replica, WatchedReplica)
        self.replica = replica
        self.witness.started(self)
        error = await replica.wait_failed()
        self.witness.failed(self, error)
        await asyncio.sleep(EXIT_SECONDS)
        self._end("exit")

    def stop(self) -> None:
        """Ask the process to leave in order, as SIGTERM does."""
        if self.process is not None and self.replica is not None:
            self.process.create_task(self._leave(self.replica))

    async def _leave(self, replica: Replica) -> None:
        await replica.stop()
        self._end("stop")

    def kill(self, why: str = "kill") -> None:
        """End the process as SIGKILL does: what it had written stays, synced or not."""
        self._end(why)

    def cut_power(self, why: str = "power cut") -> None:
        """End the process and its machine: what was not synced may be lost, nobody is told."""
        self._network.power_lost(self.name)
        self.is_powered = False
        self._end(why)
        self.host.disk.cut_power()

    def _end(self, why: str) -> None:
        process, self.process = self.process, None
        self.replica = None
        if process is None:
            return
        self.has_exited = why == "exit"
        for work in list(process.working.values()):
            self.host.disk.interrupt(work)
        self.host.disk.is_abandoned = True
        process.kill()
        if self.is_powered:
            self._network.process_died(process)
            for broken in list(self._calls.values()):
                broken()
        self._calls.clear()
        self.witness.ended(self, why)

    # What clients ask.

    def serve(
        self,
        operation: Operation,
        answered: Callable[[Any, BaseException | None], None],
        broken: Callable[[], None],
    ) -> bool:
        """Run *operation* in this node's process; False if nothing listens.

        Exactly one of *answered* and *broken* is called, unless the machine loses its power.
        """
        if self.process is None or self.replica is None:
            return False
        self._call_count += 1
        number = self._call_count
        self._calls[number] = broken
        self.process.create_task(self._run(number, self.replica, operation, answered))
        return True

    async def _run(
        self,
        number: int,
        replica: Replica,
        operation: Operation,
        answered: Callable[[Any, BaseException | None], None],
    ) -> None:
        value, problem = None, None
        try:
            value = await operation(replica)
        except QuorateError as error:
            problem = error
        if self._calls.pop(number, None) is not None:
            answered(value, problem)
