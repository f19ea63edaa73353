"""A machine's disk: what was synced, what was only written, and what a crash makes of the latter.

Each file has a durable image and, beyond it, what is yet in the page cache. Killing a process keeps
all that it had written. A power cut keeps a random part of what was not synced: none, all, up to a
random byte, or full length with zeros from some byte on (a file system may make a file longer
before its blocks are written). It passes the crash points that the real disk does.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaos.simulation.dice import Dice
from chaos.simulation.world import Died
from cluster.crashpoints import reach

if TYPE_CHECKING:
    from cluster.raft.storage import AppendFile, Draft

Seconds = tuple[float, float]


class File:
    """One file's two images. Only its end may differ: what is rewritten is replaced whole."""

    __slots__ = ("content", "durable_bytes")

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)  # As a reader sees it.
        self.durable_bytes = len(content)  # How much of it survives a power cut for certain.


class Disk:
    """One machine's data directory, which outlives its processes."""

    def __init__(self, dice: Dice, *, sync_seconds: Seconds = (0.0003, 0.003)) -> None:
        self.files: dict[str, File] = {}
        self.is_full = False
        self.fails_next_sync = False
        self.is_abandoned = False  # Its process died, perhaps amid its own code: nothing is taken.
        self.sync_seconds = sync_seconds
        self.damage: list[str] = []  # What was planted that may make the product refuse to go on.
        self._dice = dice
        self._calls_left: int | None = None  # Until the process dies in the middle of one.

    def work_seconds(self) -> float:
        """How long the next piece of work on this disk takes."""
        low, high = self.sync_seconds
        return low + (high - low) * self._dice.random()

    # Crashes.

    def interrupt(self, work: Callable[[], object]) -> None:
        """Do a random part of *work*, which was under way when its process died."""
        if self._dice.random() < 0.3:
            return  # It had not begun.
        self._calls_left = self._dice.randrange(2)
        try:
            work()
        except (Died, OSError):
            pass
        finally:
            self._calls_left = None

    def cut_power(self) -> None:
        """Lose some of what was not synced."""
        for file in self.files.values():
            unsynced = len(file.content) - file.durable_bytes
            if unsynced:
                self._tear(file, unsynced)
            file.durable_bytes = len(file.content)

    def _tear(self, file: File, unsynced: int) -> None:
        kept = self._dice.choice((0, unsynced, *(self._dice.randrange(unsynced) for _ in range(3))))
        if self._dice.random() < 0.3:
            file.content[file.durable_bytes + kept :] = bytes(unsynced - kept)
        else:
            del file.content[file.durable_bytes + kept :]

    # Faults on a disk at rest.

    def wipe(self) -> None:
        """Lose everything, as with a new disk."""
        self.damage.append("wiped")
        self.files.clear()

    def flip_bit(self) -> str | None:
        """Turn one bit of what is durable; returns where, or None on an empty disk."""
        names = [name for name, file in sorted(self.files.items()) if file.content]
        if not names:
            return None
        name = self._dice.choice(names)
        content = self.files[name].content
        offset = self._dice.randrange(len(content))
        content[offset] ^= 1 << self._dice.randrange(8)
        where = f"bit flipped in {name} at byte {offset} of {len(content)}"
        self.damage.append(where)
        return where

    # What storage does.

    def file(self, name: str) -> File:
        """The file of that name."""
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name) from None

    def append(self, name: str, content: bytes) -> None:
        """Write at the end of *name*, and sync."""
        if self.is_abandoned:
            raise Died
        file = self.files[name]
        if self.is_full:
            file.content += content[: self._dice.randrange(len(content) + 1)]
            raise OSError(errno.ENOSPC, "No space left on device", name)
        file.content += content
        reach("storage.before_sync")
        with self._perhaps_dying():
            self.sync(name)

    def sync(self, name: str) -> None:
        """Make *name* durable as it is."""
        if self.fails_next_sync:
            self.fails_next_sync = False
            raise OSError(errno.EIO, "Input/output error", name)
        self.files[name].durable_bytes = len(self.files[name].content)

    def replace(self, name: str, content: bytes) -> None:
        """Put *content* under *name*, durably and at once or not at all."""
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device", name)
        reach("storage.before_draft_synced")
        reach("storage.before_draft_renamed")
        with self._perhaps_dying():
            self.files[name] = File(content)
        reach("storage.after_draft_renamed")

    def remove(self, name: str) -> None:
        """Remove *name*, durably."""
        with self._perhaps_dying():
            self.files.pop(name, None)
        reach("storage.file_removed")

    def create(self, name: str) -> None:
        """Make *name*, empty, its directory entry durable."""
        if name in self.files:
            return
        with self._perhaps_dying():
            self.files[name] = File()
        reach("storage.file_created")

    @contextmanager
    def _perhaps_dying(self) -> Iterator[None]:
        """Die before what follows, if it is time."""
        if self.is_abandoned:
            raise Died
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left < 0:
                raise Died
        yield


class SimulatedStorage:
    """The disk as one process sees it (cluster.raft.storage.Storage)."""

    def __init__(self, disk: Disk, host: str) -> None:
        self._disk = disk
        self._host = host

    def names(self) -> list[str]:
        return sorted(self._disk.files)

    def read(self, name: str) -> bytes:
        return bytes(self._disk.file(name).content)

    def size(self, name: str) -> int:
        return len(self._disk.file(name).content)

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        return bytes(self._disk.file(name).content[offset : offset + size])

    def open_append(self, name: str) -> AppendFile:
        self._disk.create(name)
        return _Appender(self._disk, name)

    def write(self, name: str, content: bytes) -> None:
        self._disk.replace(name, content)

    def open_draft(self) -> Draft:
        return _Draft(self._disk)

    def remove(self, name: str) -> None:
        self._disk.remove(name)

    def path(self, name: str) -> str:
        return f"{self._host}:{name}"

    def close(self) -> None:
        """Nothing to give up: one process a machine is seen to elsewhere."""


class _Appender:
    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name

    def append(self, content: bytes) -> None:
        self._disk.append(self._name, content)

    def close(self) -> None:
        """What was appended stays."""


class _Draft:
    """What was drafted and not committed is as good as never written: the next start removes it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._content = bytearray()

    def add(self, content: bytes) -> None:
        self._content += content

    def commit(self, name: str) -> None:
        self._disk.replace(name, bytes(self._content))

    def discard(self) -> None:
        self._content.clear()
