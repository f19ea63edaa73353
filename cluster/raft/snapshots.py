"""Snapshots on disk: the state up to one entry, in frames that are each checked.

A file is a magic, then frames of length, CRC and content; the first frame says what the snapshot
is of, an end frame closes it. It appears under its name whole or not at all. One that cannot be
read stops the node: an empty state in its place would serve as if nothing had ever been written.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgpack

from cluster.errors import StorageDamaged, UnsupportedVersion
from cluster.raft.membership import Configuration, unpack
from cluster.raft.storage import Storage

SNAPSHOT_FILE_VERSION = 1
MAGIC = b"QSN1"
_FRAME = struct.Struct("<II")  # Content bytes, CRC.
END = _FRAME.pack(0, 0x514E4453)  # Not zeros: what was never written must not look like an end.
_READ_BYTES = 1024 * 1024
_SUFFIX = ".snapshot"


class Place(NamedTuple):
    """What a snapshot is of: everything up to this entry, and the members known by then."""

    log_index: int
    term: int
    configuration: Configuration


def name_of(log_index: int, term: int) -> str:
    """The file of the snapshot that ends at that entry; names sort by age."""
    return f"{log_index:020d}-{term:010d}{_SUFFIX}"


def index_of(name: str) -> int:
    """The index of the last entry that the snapshot *name* holds."""
    return int(name.split("-", 1)[0])


def names(storage: Storage) -> list[str]:
    """The snapshots there are, oldest first."""
    return [name for name in storage.names() if name.endswith(_SUFFIX)]


def contents(place: Place, sections: Iterable[bytes]) -> Iterator[bytes]:
    """What the frames of a snapshot hold: its place, then the state."""
    yield msgpack.packb(
        [SNAPSHOT_FILE_VERSION, place.log_index, place.term, place.configuration.pack()]
    )
    yield from sections


def frames(contents: Iterable[bytes]) -> Iterator[bytes]:
    """A snapshot file, piece by piece."""
    yield MAGIC
    for content in contents:
        yield frame(content)
    yield END


def read_place(storage: Storage, name: str) -> Place:
    """What the snapshot *name* says that it is of.

    Raises:
        StorageDamaged: it cannot be read.
        UnsupportedVersion: a newer program wrote it.
    """
    return parse_place(next(read_contents(storage, name)), source=storage.path(name))


def parse_place(content: bytes, *, source: str) -> Place:
    """What the first frame of a snapshot says.

    Raises:
        UnsupportedVersion: a newer program wrote it.
    """
    version, log_index, term, configuration = msgpack.unpackb(content)
    if version > SNAPSHOT_FILE_VERSION:
        raise UnsupportedVersion(
            f"the snapshot {source} is of version {version}; "
            f"this program knows up to {SNAPSHOT_FILE_VERSION}"
        )
    return Place(log_index, term, unpack(configuration))


def read_contents(storage: Storage, name: str) -> Iterator[bytes]:
    """Every frame's content, checked, up to the end frame.

    Raises:
        StorageDamaged: a frame is missing or wrong.
    """
    buffer = storage.read_at(name, 0, _READ_BYTES)
    if buffer[: len(MAGIC)] != MAGIC:
        raise _damaged(storage, name, 0, "it does not begin as a snapshot does")
    offset = start = len(MAGIC)
    read = len(buffer)
    while True:
        while len(buffer) - start < _FRAME.size or (
            len(buffer) - start < _FRAME.size + _FRAME.unpack_from(buffer, start)[0]
        ):
            more = storage.read_at(name, read, _READ_BYTES)
            if not more:
                raise _damaged(storage, name, offset, "it ends early")
            read += len(more)
            buffer, start = buffer[start:] + more, 0
        length, crc = _FRAME.unpack_from(buffer, start)
        if buffer[start : start + _FRAME.size] == END:
            return
        content = buffer[start + _FRAME.size : start + _FRAME.size + length]
        if not length or zlib.crc32(content) != crc:
            raise _damaged(storage, name, offset, "a checksum is wrong")
        yield content
        start += _FRAME.size + length
        offset += _FRAME.size + length


def frame(content: bytes) -> bytes:
    return b"".join((_FRAME.pack(len(content), zlib.crc32(content)), content))


def _damaged(storage: Storage, name: str, offset: int, reason: str) -> StorageDamaged:
    return StorageDamaged(
        f"{storage.path(name)} is damaged at byte {offset}: {reason}. While a majority of the "
        "other nodes is whole: stop this node, move its data directory away, and start it again "
        "as a new member"
    )
