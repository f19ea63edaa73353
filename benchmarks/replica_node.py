"""One node of the replica's benchmark: the real replica, without a gateway, steered over stdin.

It runs as a node does: on uvloop, with every sync, its data where it is told. Only the machine may
be another one: `NoopMachine` takes in every command and does nothing, so that what remains is the
price of replicating.
"""

from __future__ import annotations

import asyncio
import cProfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks.control import serve, settings
from benchmarks.load import Load, make_commands
from cluster.answers import Consistency
from cluster.core.commands import Command, RaiseVersion
from cluster.core.machine import Applied, Machine
from cluster.core.model import Moment
from cluster.core.queries import Count
from cluster.errors import QuorateError
from cluster.host import Host
from cluster.recovery import Recovered
from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from cluster.status import Role
from node.collector import tidied

_POLL_SECONDS = 0.002
_PROBE_SECONDS = 0.2  # How long one probe of an isolated leader may take.


class NoopMachine:
    """A machine that replies to every command with nothing, at no cost, and keeps but the clocks.

    It has a real one for the rest, and is none: what was compiled has no subclasses.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def apply_entry(
        self,
        commands: Sequence[Command[Any]],
        *,
        index: int,
        term: int,
        cluster_time_ms: int,
        wall_time_ms: int,
    ) -> Applied:
        """Note where the log is."""
        state = self._machine.state
        state.now = Moment(
            index,
            term,
            max(state.now.cluster_ms, cluster_time_ms),
            max(state.now.wall_ms, wall_time_ms),
        )
        for command in commands[:1]:
            if isinstance(command, RaiseVersion):  # Else its leader asks ten times a second.
                state.machine_version = command.version
        return Applied((None,) * len(commands), ())


class NoopReplica(Replica):
    """A replica of the machine that does nothing."""

    def __init__(self, settings: ReplicaSettings, *, host: Host, recovered: Recovered) -> None:
        noop = cast("Machine", NoopMachine(recovered.machine))
        super().__init__(settings, host=host, recovered=recovered._replace(machine=noop))


class Node:
    """What the driver may ask of a node: every public method is an operation."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._stop = asyncio.Event()
        self._profile = cProfile.Profile()

    async def status(self) -> dict[str, Any]:
        """The node's own view."""
        status = self._replica.status()
        return {
            "is_leader": status.role is Role.LEADER,
            "leader": status.leader,
            "term": status.term,
            "commit_index": status.commit_index,
            "applied_index": status.applied_index,
            "has_quorum": status.has_quorum,
            "reachable": sum(member.is_reachable for member in status.members),
        }

    async def propose(self, *, prefix: int, timeout_seconds: float = 10.0) -> dict[str, Any]:
        """One write. Returns when it was acknowledged, by the monotonic clock."""
        command = next(make_commands(prefix, tasks=1, payload_bytes=100, is_recycled=False))
        committed = await self._replica.propose(command, timeout_seconds=timeout_seconds)
        return {"at": time.monotonic(), "index": committed.index}

    async def read(self, *, timeout_seconds: float = 10.0) -> dict[str, Any]:
        """One linearizable read. Returns when it was answered."""
        answered = await self._replica.read(Count(), timeout_seconds=timeout_seconds)
        return {"at": time.monotonic(), "index": answered.index}

    async def reach(self, *, index: int, timeout_seconds: float) -> float:
        """Return when this node has applied *index*."""
        await self._replica.read(
            Count(),
            consistency=Consistency.STALE,
            min_index=index,
            timeout_seconds=timeout_seconds,
        )
        return time.monotonic()

    async def load(
        self,
        *,
        prefix: int,
        proposers: int = 1,
        count: int | None = None,
        per_second: float | None = None,
        tasks: int = 1,
        payload_bytes: int = 100,
        is_recycled: bool = False,
    ) -> dict[str, Any]:
        """Propose *count* commands, or until `stop_load`."""
        self._stop.clear()
        commands = make_commands(
            prefix, tasks=tasks, payload_bytes=payload_bytes, is_recycled=is_recycled
        )
        load = Load(self._replica.propose, stop=self._stop)
        return await load.run(commands, proposers=proposers, count=count, per_second=per_second)

    async def stop_load(self) -> None:
        """Let every load that has no end come to one."""
        self._stop.set()

    async def watch_deposition(self, *, prefix: int) -> dict[str, float]:
        """Probe this leader until it no longer takes itself for one.

        Returns:
            When it last answered a read or a write, and when it stopped saying that it leads.
        """
        served_at = [time.monotonic()]
        probes = [
            asyncio.create_task(self._probe(self.read, served_at)),
            asyncio.create_task(
                self._probe(lambda **o: self.propose(prefix=prefix, **o), served_at)
            ),
        ]
        while self._replica.status().role is Role.LEADER:  # noqa: ASYNC110 - a replica tells nobody.
            await asyncio.sleep(_POLL_SECONDS)
        deposed_at = time.monotonic()
        await asyncio.sleep(2 * _PROBE_SECONDS)  # Whatever is still answered now counts as serving.
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        return {"served_at": served_at[0], "deposed_at": deposed_at}

    async def snapshot(self) -> float:
        """Take a snapshot of what is applied now. Returns how many seconds it took."""
        start = time.monotonic()
        await asyncio.shield(self._replica._snapshots.take())  # No caller but a benchmark asks.
        return time.monotonic() - start

    async def start_profile(self) -> None:
        """Profile everything on the loop from now on."""
        self._profile.enable()

    async def stop_profile(self, *, path: str) -> None:
        """Write what was profiled, for `pstats`."""
        self._profile.disable()
        self._profile.dump_stats(path)

    async def _probe(self, ask: Any, served_at: list[float]) -> None:
        while True:
            try:
                answer = await ask(timeout_seconds=_PROBE_SECONDS)
                served_at[0] = max(served_at[0], answer["at"])
            except QuorateError:
                pass
            await asyncio.sleep(_POLL_SECONDS)


OPERATIONS = (
    "status",
    "propose",
    "read",
    "reach",
    "load",
    "stop_load",
    "snapshot",
    "watch_deposition",
    "start_profile",
    "stop_profile",
)


async def main() -> None:
    """Start the node that the settings describe, and do what it is asked."""
    wanted = settings()
    replica_type = NoopReplica if wanted["machine"] == "noop" else Replica
    replica = await replica_type.start(
        ReplicaSettings(
            node_id=wanted["node_id"],
            members=wanted["members"],
            data=Path(wanted["data"]),
            http="127.0.0.1:80",
        )
    )
    node = Node(replica)
    with tidied():
        await serve({name: getattr(node, name) for name in OPERATIONS})
    await replica.stop()


if __name__ == "__main__":
    uvloop.run(main())
