"""The machine that a node runs on: its disk, its calendar, its dice. The one seam to all three.

Network and time passing come from the asyncio loop. Give a replica another host and another loop,
and the very same code runs in a simulated world.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from cluster import children
from cluster.distribution import Distribution
from cluster.raft.storage import Directory, Storage

Frames = Callable[[], Iterable[bytes]]


class Host(Protocol):
    """What a replica needs besides its loop."""

    sync_seconds: Distribution  # How long the log's syncs took.

    def open_storage(self, path: Path) -> Storage:
        """The data directory at *path*, for this process alone.

        Raises:
            StorageError: it cannot be used, or another process uses it.
        """

    def open_log_thread(self) -> Executor:
        """A thread on which the log is written, one generation at a time."""

    async def save(self, storage: Storage, name: str, frames: Frames) -> None:
        """Put what `frames()` yields under *name*, as the state is at this very moment.

        The loop goes on meanwhile, and so may the state; the log's writes are not stalled.

        Raises:
            StorageError: it could not be written; nothing is under *name*.
        """

    def random(self) -> float:
        """A number in [0, 1): election timeouts must differ between nodes."""

    def token(self) -> str:
        """A name that nothing else has: incarnations and origins are made of it."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 by this machine's calendar, right or wrong."""


class RealHost:
    """This computer."""

    def __init__(self) -> None:
        self._random = random.Random(secrets.randbits(64))  # noqa: S311 - it spreads timeouts.
        self.sync_seconds = Distribution()

    def open_storage(self, path: Path) -> Storage:
        return Directory(path, sync=self._sync)

    def open_log_thread(self) -> Executor:
        return ThreadPoolExecutor(1, thread_name_prefix="log")

    async def save(self, storage: Storage, name: str, frames: Frames) -> None:
        await children.run(lambda: _save(storage, name, frames), what=storage.path(name))

    def random(self) -> float:
        return self._random.random()

    def token(self) -> str:
        return secrets.token_hex(8)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def _sync(self, descriptor: int) -> None:
        started = time.perf_counter()
        os.fdatasync(descriptor)
        self.sync_seconds.add(time.perf_counter() - started)


def _save(storage: Storage, name: str, frames: Frames) -> None:
    """Write in the child; it gives way to its parent after each portion."""
    draft = storage.open_draft()
    try:
        for frame in frames():
            draft.add(frame)
        draft.commit(name)
    finally:
        draft.discard()
