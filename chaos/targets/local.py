"""Local processes: `quorate up`'s own, with a relay on every way from one node to another.

Needs no Docker and no privileges. A cut way holds what is sent, as a network that lost its path
does; the bytes that it held back are its bite. What is done to ways ends with this process, and so,
on Linux, do nodes and workers: what it leaves, if it is killed, is in its journal.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from chaos import damage, processes
from chaos.journal import Journal, Left
from chaos.processes import Identity
from chaos.relay import BOTH, Direction, Fault, Relay
from chaos.targets.contract import WELL, Condition, Kind, Unsupported, Way
from chaos.targets.impairing import Impairing
from node.local import STOP_TIMEOUT_SECONDS, Listener, LocalCluster, LocalSettings

SCRATCH = "quorate-"  # A data directory whose name begins so, among temporary files, is ours.
LOG_BYTES_MAX = 4 * 1024 * 1024  # Of each process.
_PROCESS, _FROZEN = "process ", "frozen "


class LocalTarget(Impairing):
    """A cluster of child processes that end with this one."""

    name = "local"

    def __init__(self, settings: LocalSettings, listener: Listener | None = None) -> None:
        self.cluster = LocalCluster(settings, listener)
        self._relays: dict[Way, Relay] = {}  # By who dials whom.
        self._conditions: dict[Way, Condition] = {}  # Since the last `mend`.
        self._disconnected: set[str] = set()
        self._frozen: set[str] = set()
        self._counted: dict[Relay, int] = {}  # What each had held back at the last `mend`.
        self._journal: Journal | None = None

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self.cluster.places)

    @property
    def workers(self) -> tuple[str, ...]:
        return tuple(name for name in self.cluster.children if name not in self.cluster.places)

    @property
    def urls(self) -> Mapping[str, str]:
        return {name: place.url for name, place in self.cluster.places.items()}

    def session_of(self, worker: str) -> str | None:
        return self.cluster.children[worker].announcements.get("session")

    def logs(self) -> Mapping[str, str]:
        directory = self.cluster.settings.data / "logs"
        return {file.stem: _tail(file) for file in sorted(directory.glob("*.log"))}

    async def start(self) -> None:
        data = str(self.cluster.settings.data)
        self._journal = Journal.begin(self.name, at_exit=heal, data=data)
        for dialler, dialled in permutations(self.nodes, 2):
            relay = await Relay.start(self.cluster.places[dialled].raft)
            self._relays[dialler, dialled] = relay
            self.cluster.detours[dialler, dialled] = relay.address
        try:
            await self.cluster.start()
        finally:
            for name in self.cluster.children:
                self._note_process(name)
        await self.cluster.wait_ready()

    async def stop(self) -> None:
        for name in tuple(self._frozen):
            await self.thaw(name)
        self._disconnected.clear()
        await self.mend()  # Workers hand their tasks back, which wants a quorum.
        await self.cluster.stop()
        relays, self._relays = self._relays, {}
        await asyncio.gather(*(relay.stop() for relay in relays.values()))
        if self._journal is not None:
            self._journal.end()

    # Processes and disks.

    async def kill(self, name: str) -> None:
        await self.cluster.kill(name)
        self._has_thawed(name)

    async def end(self, name: str) -> None:
        await self.cluster.children[name].stop(timeout_seconds=STOP_TIMEOUT_SECONDS)
        self._has_thawed(name)

    async def revive(self, name: str) -> None:
        if not self.has_ended(name):
            return
        if name in self.cluster.places:
            await self.cluster.start_node(name)
        else:
            await self.cluster.start_worker(name)
        self._note_process(name)

    async def restart(self, name: str) -> None:
        await self.end(name)
        await self.revive(name)

    async def kill_all(self) -> None:
        await self.cluster.kill_all()
        for name in self.cluster.children:
            self._has_thawed(name)

    async def revive_all(self) -> None:
        for name in (*self.nodes, *self.workers):
            if self.has_ended(name):
                await self.revive(name)

    async def freeze(self, name: str) -> None:
        self._note(_FROZEN + name)
        self._frozen.add(name)
        self.cluster.freeze(name)

    async def thaw(self, name: str) -> None:
        self.cluster.thaw(name)
        self._has_thawed(name)

    async def add_workers(self, count: int) -> list[str]:
        first = len(self.workers) + 1
        names = [f"worker{number}" for number in range(first, first + count)]
        for name in names:
            await self.cluster.start_worker(name)
            self._note_process(name)
        return names

    async def flip_bit(self, node: str, kind: Kind) -> str:
        return damage.flip_bit(self._disk_of(node), kind)

    async def put_disk_aside(self, node: str) -> None:
        damage.put_aside(self._disk_of(node))

    # Ways.

    async def mend(self) -> None:
        self._conditions.clear()
        self._impose()
        self._counted = {relay: _held_back(relay) for relay in self._relays.values()}

    async def held_back(self) -> int:
        return sum(
            _held_back(relay) - self._counted.get(relay, 0) for relay in self._relays.values()
        )

    async def disconnect(self, node: str) -> None:
        self._disconnected.add(node)
        self._impose()

    async def reconnect(self, node: str, *, changed_address: bool = False) -> None:
        if changed_address:
            raise Unsupported(
                "processes of one machine have no address that could change: with --target docker"
                " a node can come back at another"
            )
        self._disconnected.discard(node)
        self._impose()

    # Signs.

    def has_ended(self, name: str) -> bool:
        return not self.cluster.children[name].is_running

    def is_stopped(self, name: str) -> bool:
        return processes.is_stopped(self.cluster.children[name].pid)

    def is_disconnected(self, node: str) -> bool:
        return node in self._disconnected

    def start_of(self, name: str) -> str:
        return str(self.cluster.children[name].pid)

    async def _set(self, ways: Iterable[Way], **changes: object) -> None:
        for way in ways:
            before = self._conditions.get(way, WELL)
            self._conditions[way] = replace(before, **changes)  # type: ignore[arg-type]
        self._impose()

    def _impose(self) -> None:
        """Have every relay be as the ways that lead through it are.

        Either end may have dialled: a way leads through both relays of its pair.
        """
        for (dialler, dialled), relay in self._relays.items():
            there = self._condition(dialler, dialled)
            back = self._condition(dialled, dialler)
            relay.impose(_as_fault(there), Direction.TO_TARGET)
            relay.impose(_as_fault(back), Direction.FROM_TARGET)
            relay.is_resetting = there.is_reset or back.is_reset
            if relay.is_resetting:
                relay.reset()

    def _condition(self, source: str, target: str) -> Condition:
        if self._disconnected & {source, target}:
            return Condition(is_cut=True)
        return self._conditions.get((source, target), WELL)

    def _disk_of(self, node: str) -> Path:
        if not self.has_ended(node):
            raise Unsupported(f"{node} runs, and its disk is its own: kill it first")
        return self.cluster.settings.data / node

    def _note_process(self, name: str) -> None:
        """Note which process it is; one that has ended by now needs no healing."""
        child = self.cluster.children[name]
        if child.is_running:
            started = processes.identity_of(child.pid).started
            self._note(_PROCESS + name, pid=child.pid, started=started)

    def _note(self, fault: str, **undo: object) -> None:
        assert self._journal is not None, "nothing runs before the start"
        self._journal.note(fault, **undo)

    def _has_thawed(self, name: str) -> None:
        if name in self._frozen:
            self._frozen.discard(name)
            assert self._journal is not None, "it was frozen after the start"
            self._journal.forget(_FROZEN + name)


def heal(left: Left) -> list[str]:
    """End what a run of this target has left, once it is dead itself; says what was found.

    A frozen process is let go on, so that it can end. Its data goes where it was temporary.
    """
    told = []
    for fault, noted in left.faults.items():
        if not fault.startswith(_PROCESS):
            continue
        process = Identity(noted["pid"], noted["started"])
        if process.end(timeout_seconds=STOP_TIMEOUT_SECONDS):
            told.append(f"{fault.removeprefix(_PROCESS)} was ended (process {process.pid})")
    data = Path(left.about["data"])
    is_temporary = data.parent == Path(tempfile.gettempdir()) and data.name.startswith(SCRATCH)
    if is_temporary and data.is_dir():
        shutil.rmtree(data)
        told.append(f"{data} was removed")
    left.journal.end()
    return told


def _as_fault(condition: Condition) -> Fault:
    return Fault(
        is_dropping=condition.is_cut,
        delay_seconds=condition.delay_seconds,
        bytes_per_second=condition.bytes_per_second,
        loss=condition.loss,
    )


def _held_back(relay: Relay) -> int:
    """The bytes that a relay has ever held for a fault, and the connections that it has reset."""
    return relay.connections_reset + sum(relay.bytes_held_back(direction) for direction in BOTH)


def _tail(file: Path) -> str:
    """The newest lines of a log, the first of them whole."""
    with file.open("rb") as opened:
        cut = max(0, file.stat().st_size - LOG_BYTES_MAX)
        opened.seek(cut)
        text = opened.read().decode(errors="replace")
    return text.partition("\n")[2] if cut else text
