"""Files as the log and the snapshots need them: append, sync, replace, and be sure of it.

Calls block; whoever is on a loop makes them on a thread of its own. Nothing here retries: a failed
fsync may have dropped dirty pages, so trying again would lie (Rebello et al., "Can Applications
Recover from fsync Failures?", USENIX ATC 2020).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from cluster.errors import StorageError


class AppendFile(Protocol):
    """A file that only grows at its end."""

    def append(self, content: bytes) -> None:
        """Write *content* at the end and make it durable before returning."""

    def close(self) -> None:
        """Let the file go; what was appended stays."""


class Storage(Protocol):
    """One directory of named files. The simulator has its own, with torn writes and bit rot."""

    def names(self) -> list[str]:
        """The files here, sorted; what an interrupted `write` left is not among them."""

    def read(self, name: str) -> bytes:
        """The whole content of *name*."""

    def open_append(self, name: str) -> AppendFile:
        """Open *name* for appending, creating it, its directory entry durable."""

    def write(self, name: str, content: bytes) -> None:
        """Put *content* under *name* in one atomic, durable step."""

    def remove(self, name: str) -> None:
        """Remove *name*, durably; a missing one is no error."""

    def path(self, name: str) -> str:
        """How a message to a person names the file."""

    def close(self) -> None:
        """Give the directory up to the next process."""


class Directory:
    """A real directory, locked against a second process for as long as it is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot use data directory {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StorageError(
                f"data directory {path} is in use by another process; "
                "stop it, or give this node a directory of its own"
            ) from error

    def names(self) -> list[str]:
        return sorted(
            entry.name
            for entry in self._path.iterdir()
            if entry.name != "lock" and entry.suffix != ".tmp"
        )

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def open_append(self, name: str) -> AppendFile:
        target = self._path / name
        is_new = not target.exists()
        file = _File(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600))
        if is_new:
            self._sync_directory()
        return file

    def write(self, name: str, content: bytes) -> None:
        temporary = self._path / f"{name}.tmp"
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._path / name)
        self._sync_directory()

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)
        self._sync_directory()

    def path(self, name: str) -> str:
        return str(self._path / name)

    def close(self) -> None:
        os.close(self._lock)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _File:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, content: bytes) -> None:
        _write_all(self._descriptor, content)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
