"""Local processes: `quorate up`'s own, with a relay on every way from one node to another.

Needs no Docker and no privileges. A cut way holds what is sent, as a network that lost its path
does; the bytes that it held back are its bite.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import permutations
from pathlib import Path

from chaos.relay import Direction, Relay
from chaos.targets.contract import Way
from node.local import Listener, LocalCluster, LocalSettings

LOG_BYTES_MAX = 4 * 1024 * 1024  # Of each process.


class LocalTarget:
    """A cluster of child processes that end with this one."""

    name = "local"

    def __init__(self, settings: LocalSettings, listener: Listener | None = None) -> None:
        self.cluster = LocalCluster(settings, listener)
        self._relays: dict[Way, Relay] = {}  # By who dials whom.
        self._cuts: set[Way] = set()
        self._frozen: set[str] = set()

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
        for dialler, dialled in permutations(self.nodes, 2):
            relay = await Relay.start(self.cluster.places[dialled].raft)
            self._relays[dialler, dialled] = relay
            self.cluster.detours[dialler, dialled] = relay.address
        await self.cluster.start()
        await self.cluster.wait_ready()

    async def stop(self) -> None:
        for name in tuple(self._frozen):
            await self.thaw(name)
        await self.mend()
        await self.cluster.stop()
        await asyncio.gather(*(relay.stop() for relay in self._relays.values()))

    def has_ended(self, name: str) -> bool:
        return not self.cluster.children[name].is_running

    def is_stopped(self, name: str) -> bool:
        """As the kernel says, after the command's name in brackets (proc(5))."""
        told = Path(f"/proc/{self.cluster.children[name].pid}/stat").read_text("utf-8", "replace")
        return told.rpartition(")")[2].split()[0] == "T"

    async def kill(self, name: str) -> None:
        self._frozen.discard(name)
        await self.cluster.kill(name)

    async def revive(self, name: str) -> None:
        if name in self.cluster.places:
            await self.cluster.start_node(name)
        else:
            await self.cluster.start_worker(name)

    async def freeze(self, name: str) -> None:
        self.cluster.freeze(name)
        self._frozen.add(name)

    async def thaw(self, name: str) -> None:
        self.cluster.thaw(name)
        self._frozen.discard(name)

    async def add_worker(self) -> str:
        name = f"worker{len(self.workers) + 1}"
        await self.cluster.start_worker(name)
        return name

    async def cut(self, ways: Iterable[Way]) -> None:
        for source, target in ways:
            self._cuts.add((source, target))
            # Either may have dialled: what is sent this way goes through both relays of the pair.
            self._relays[source, target].drop(Direction.TO_TARGET)
            self._relays[target, source].drop(Direction.FROM_TARGET)

    async def mend(self) -> None:
        self._cuts.clear()
        await asyncio.gather(*(relay.heal() for relay in self._relays.values()))

    async def held_back(self) -> int:
        return sum(
            self._held(self._relays[source, target], Direction.TO_TARGET)
            + self._held(self._relays[target, source], Direction.FROM_TARGET)
            for source, target in self._cuts
        )

    @staticmethod
    def _held(relay: Relay, direction: Direction) -> int:
        return relay.bytes_taken(direction) - relay.bytes_given(direction)


def _tail(file: Path) -> str:
    """The newest lines of a log, the first of them whole."""
    with file.open("rb") as opened:
        cut = max(0, file.stat().st_size - LOG_BYTES_MAX)
        opened.seek(cut)
        text = opened.read().decode(errors="replace")
    return text.partition("\n")[2] if cut else text
