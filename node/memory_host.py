"""A host whose disk is memory: for tests, which need a cluster at once and only while they run."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from cluster.host import Frames, RealHost
from cluster.raft.storage import Storage


class MemoryHost(RealHost):
    """This computer, but for its disk."""

    def open_storage(self, path: Path) -> Storage:
        return MemoryStorage(path)

    def open_log_thread(self) -> Executor:
        return ThreadPoolExecutor(1, thread_name_prefix="log")

    async def save(self, storage: Storage, name: str, frames: Frames) -> None:
        draft = storage.open_draft()
        for frame in frames():
            draft.add(frame)
        draft.commit(name)


class MemoryStorage:
    """A directory that is gone with the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, bytearray] = {}

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        return bytes(self._files[name])

    def size(self, name: str) -> int:
        return len(self._files[name])

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        return bytes(self._files[name][offset : offset + size])

    def open_append(self, name: str) -> _Growing:
        return _Growing(self._files.setdefault(name, bytearray()))

    def open_draft(self) -> _Draft:
        return _Draft(self._files)

    def remove(self, name: str) -> None:
        self._files.pop(name, None)

    def path(self, name: str) -> str:
        return f"{self._path / name} (in memory)"

    def close(self) -> None:
        self._files.clear()


class _Growing:
    def __init__(self, content: bytearray) -> None:
        self._content = content

    def append(self, content: bytes) -> None:
        self._content += content

    def close(self) -> None:
        """Nothing is held."""


class _Draft:
    def __init__(self, files: dict[str, bytearray]) -> None:
        self._files = files
        self._content = bytearray()

    def add(self, content: bytes) -> None:
        self._content += content

    def commit(self, name: str) -> None:
        self._files[name] = self._content

    def discard(self) -> None:
        """It was never anywhere but here."""
