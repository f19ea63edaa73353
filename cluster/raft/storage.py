"""Files as the log and the snapshots need them: append, sync, replace, and be sure of it.

Calls block; whoever is on a loop makes them on a thread of its own. Nothing here retries: a failed
fsync may have dropped dirty pages, so trying again would lie (Rebello et al., "Can Applications
Recover from fsync Failures?", USENIX ATC 2020).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cluster.crashpoints import reach
from cluster.errors import StorageError

_DRAFT_SYNC_BYTES = 1024 * 1024


class AppendFile(Protocol):
    """A file that only grows at its end."""

    def append(self, content: bytes) -> None:
        """Write *content* at the end and make it durable before returning."""

    def close(self) -> None:
        """Let the file go; what was appended stays."""


class Draft(Protocol):
    """A file that is not there until it is committed, whole."""

    def add(self, content: bytes) -> None:
        """Write *content* at the end; nothing is durable yet."""

    def commit(self, name: str) -> None:
        """Put it under *name* in one atomic, durable step."""

    def discard(self) -> None:
        """Let it go. Does nothing after a commit."""


class Storage(Protocol):
    """One directory of named files. The simulator has its own, with torn writes and bit rot."""

    def names(self) -> list[str]:
        """The files here, sorted; drafts are not among them."""

    def read(self, name: str) -> bytes:
        """The whole content of *name*."""

    def size(self, name: str) -> int:
        """How many bytes *name* holds."""

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        """At most *size* bytes of *name* from *offset* on; none at its end."""

    def open_append(self, name: str) -> AppendFile:
        """Open *name* for appending, creating it, its directory entry durable."""

    def open_draft(self) -> Draft:
        """Begin a new file."""

    def remove(self, name: str) -> None:
        """Remove *name*, durably; a missing one is no error."""

    def path(self, name: str) -> str:
        """How a message to a person names the file."""

    def close(self) -> None:
        """Give the directory up to the next process."""


def write_file(storage: Storage, name: str, content: bytes) -> None:
    """Put *content* under *name* in one atomic, durable step."""
    draft = storage.open_draft()
    try:
        draft.add(content)
        draft.commit(name)
    finally:
        draft.discard()


class Directory:
    """A real directory, locked against a second process for as long as it is open.

    *sync* makes what was appended durable; who measures it gives another.
    """

    def __init__(self, path: Path, *, sync: Callable[[int], None] = os.fdatasync) -> None:
        self._path = path
        self._sync = sync
        try:
            made = [each for each in path.parents if not each.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for each in (path, *made):
                _sync_directory(each.parent)
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
        for draft in path.glob("*.tmp"):  # What a killed process left.
            draft.unlink()

    def names(self) -> list[str]:
        return sorted(
            entry.name
            for entry in self._path.iterdir()
            if entry.is_file() and entry.name != "lock" and entry.suffix != ".tmp"
        )

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def open_append(self, name: str) -> AppendFile:
        target = self._path / name
        is_new = not target.exists()
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        file = _File(os.open(target, flags, 0o600), self._sync)
        if is_new:
            reach("storage.file_created")
            _sync_directory(self._path)
        return file

    def size(self, name: str) -> int:
        return (self._path / name).stat().st_size

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        with (self._path / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def open_draft(self) -> Draft:
        return _Draft(self._path)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)
        reach("storage.file_removed")
        _sync_directory(self._path)

    def path(self, name: str) -> str:
        return str(self._path / name)

    def close(self) -> None:
        os.close(self._lock)


class _Draft:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor, self._name = tempfile.mkstemp(suffix=".tmp", dir=directory)
        self._unsynced = 0

    def add(self, content: bytes) -> None:
        _write_all(self._descriptor, content)
        self._unsynced += len(content)
        if self._unsynced >= _DRAFT_SYNC_BYTES:
            # In small portions: one large sync at the end would stall the log's next ones.
            os.fdatasync(self._descriptor)
            self._unsynced = 0

    def commit(self, name: str) -> None:
        reach("storage.before_draft_synced")
        os.fsync(self._descriptor)
        reach("storage.before_draft_renamed")
        Path(self._name).replace(self._directory / name)
        reach("storage.after_draft_renamed")
        _sync_directory(self._directory)
        self._name = ""

    def discard(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._name:
            Path(self._name).unlink(missing_ok=True)
            self._name = ""


class _File:
    def __init__(self, descriptor: int, sync: Callable[[int], None]) -> None:
        self._descriptor = descriptor
        self._sync = sync

    def append(self, content: bytes) -> None:
        _write_all(self._descriptor, content)
        reach("storage.before_sync")
        self._sync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
