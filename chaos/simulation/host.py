"""A simulated machine: its disk, its calendar, its dice (cluster.host.Host)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar

from chaos.simulation.dice import Dice
from chaos.simulation.disk import Disk, SimulatedStorage
from chaos.simulation.world import World
from cluster.distribution import Distribution
from cluster.errors import StorageError
from cluster.raft.storage import Storage

T = TypeVar("T")

EPOCH_MS = 1_800_000_000_000  # What a right calendar shows when the world begins.


class SimulatedHost:
    """What a replica gets of its machine."""

    def __init__(self, world: World, name: str, dice: Dice, disk: Disk) -> None:
        self.name = name
        self.disk = disk
        self.sync_seconds = Distribution()  # Of a disk that is measured by nobody: it stays empty.
        self.skew_ms = 0  # How far the calendar is off.
        self._world = world
        self._dice = dice

    def open_storage(self, path: Path) -> Storage:  # noqa: ARG002 - a machine has one directory here
        return SimulatedStorage(self.disk, self.name)

    def open_log_thread(self) -> Executor:
        return NoThread()

    async def save(
        self, storage: Storage, name: str, frames: Callable[[], Iterable[bytes]]
    ) -> None:
        """Take the state as it is now, as a forked child does, and write it in small portions."""
        draft = storage.open_draft()
        for frame in list(frames()):
            await asyncio.sleep(self.disk.work_seconds())
            draft.add(frame)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, draft.commit, name)
        except OSError as error:
            raise StorageError(f"{storage.path(name)} cannot be written: {error}") from error

    def random(self) -> float:
        return self._dice.random()

    def token(self) -> str:
        return f"{self._dice.getrandbits(64):016x}"

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self._world.now * 1_000) + self.skew_ms


class NoThread(Executor):
    """Stands for a thread: the simulated loop itself decides when the work happens."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        raise AssertionError(f"{fn} was given to a thread past the loop: {args} {kwargs}")
