"""The log's segments on disk: how a frame is written, and what all of them add up to at a start.

A frame is a header (magic, body bytes, generation, body CRC, header CRC) and a msgpack list of
records. Segments are named by their first generation.

The last frame may be *torn* (short, or zero-filled from some point on): it was never durable,
nobody was told of it, and it is cut. A whole frame with a wrong checksum is *damage*, wherever it
is: what it held may have been acknowledged, so the node must not go on as if it had never been
(Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgpack

from cluster.crashpoints import reach
from cluster.errors import StorageDamaged, UnsupportedVersion
from cluster.raft.storage import Storage, write_file

Entry = tuple[bytes, int, int]  # command, index, term: the order is pysyncobj's
Record = tuple[Any, ...]

VERSION = 1
SUFFIX = ".log"

# Record kinds, the first item of each record.
ENTRY, TRUNCATE, VOTE, SEGMENT = range(4)

_HEADER = struct.Struct("<4sIQI")  # magic, body bytes, generation, body CRC; then the header's CRC
_CRC = struct.Struct("<I")
_MAGIC = b"QLG1"
_FRAME_BYTES = _HEADER.size + _CRC.size
_END = b"\xa5"  # The last byte of every body: a zero there was never written.


def encode(generation: int, records: list[Record]) -> bytes:
    """The frame of one generation."""
    body = msgpack.packb(records, use_bin_type=True) + _END
    header = _HEADER.pack(_MAGIC, len(body), generation, zlib.crc32(body))
    return b"".join((header, _CRC.pack(zlib.crc32(header)), body))


def names(storage: Storage) -> list[str]:
    """The segments that are there, oldest first."""
    return [name for name in storage.names() if name.endswith(SUFFIX)]


def replay(storage: Storage) -> Replay:
    """What all segments add up to. A torn end is cut from the last one, durably.

    Raises:
        StorageDamaged: a frame is whole but wrong, or one is missing.
        UnsupportedVersion: a newer program wrote it.
    """
    found = Replay(storage)
    present = names(storage)
    for position, name in enumerate(present):
        found.segment(name, is_last=position == len(present) - 1)
    return found


class Replay:
    """What the segments read so far add up to."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.entries: list[Entry] = []
        self.term = 0
        self.voted_for: str | None = None
        self.generation = 0
        self.segment_name: str | None = None
        self.segment_size = 0
        self.segment_ends: dict[str, int] = {}  # Segment -> the highest index it ever held.

    def segment(self, name: str, *, is_last: bool) -> None:
        """Add what the segment *name* says; cut its torn end, which only the last can have.

        Raises:
            StorageDamaged: a frame is whole but wrong, or one is missing.
            UnsupportedVersion: a newer program wrote it.
        """
        content = self._storage.read(name)
        offset = 0
        while offset < len(content):
            body = self._frame_body(name, content, offset, is_last=is_last)
            if body is None:
                break
            self._replay_records(name, offset, body)
            self.segment_ends[name] = max(self.segment_ends.get(name, 0), self._last_index())
            offset += _FRAME_BYTES + len(body)
        if offset == 0 and is_last:
            reach("log.before_torn_removed")
            self._storage.remove(name)  # Its very first frame was torn: it never was.
            return
        if is_last:
            # Read back is not durable: it may be in the page cache alone, and after a failed
            # fsync even a later fsync would not write it. So it is written anew, tear cut off.
            reach("log.before_rewritten")
            write_file(self._storage, name, content[:offset])
            reach("log.after_rewritten")
        self.segment_name, self.segment_size = name, offset

    def _frame_body(self, name: str, content: bytes, offset: int, *, is_last: bool) -> bytes | None:
        """The body of the frame at *offset*, or None if the frame is torn."""
        body_start = offset + _FRAME_BYTES
        header = content[offset : offset + _HEADER.size]
        if len(content) < body_start or (not any(header) and not any(content[offset:])):
            return self._torn(name, offset, is_last=is_last)
        magic, body_bytes, generation, body_crc = _HEADER.unpack(header)
        (header_crc,) = _CRC.unpack(content[offset + _HEADER.size : body_start])
        if zlib.crc32(header) != header_crc:
            if any(content[body_start - 1 :]):
                raise self._damaged(name, offset, "the header's checksum is wrong")
            return self._torn(name, offset, is_last=is_last)
        if magic != _MAGIC:
            raise UnsupportedVersion(f"{self._storage.path(name)} has format {magic!r}, not ours")
        body = content[body_start : body_start + body_bytes]
        is_short = len(body) < body_bytes
        if is_short or zlib.crc32(body) != body_crc:
            if any(content[body_start + body_bytes - 1 :]):
                raise self._damaged(name, offset, "the body's checksum is wrong")
            return self._torn(name, offset, is_last=is_last)
        if self.segment_name is not None and generation != self.generation + 1:
            raise self._damaged(
                name, offset, f"generation {generation} follows generation {self.generation}"
            )
        self.generation = generation
        return body

    def _torn(self, name: str, offset: int, *, is_last: bool) -> bytes | None:
        """None, for a tear; only the very end of the log can be one."""
        if not is_last:
            raise self._damaged(name, offset, "the segment ends early though a later one exists")
        return None

    def _damaged(self, name: str, offset: int, reason: str) -> StorageDamaged:
        return StorageDamaged(
            f"{self._storage.path(name)} is damaged at byte {offset}: {reason}; what it held may "
            "have been acknowledged, so this node must not vote with it. While a majority of the "
            "other nodes is whole: stop this node, move its data directory away, and start it "
            "again as a new member"
        )

    def _replay_records(self, name: str, offset: int, body: bytes) -> None:
        for record in msgpack.unpackb(body[: -len(_END)], raw=False, use_list=False):
            match record:
                case (0, int(index), int(term), bytes(command)):
                    if self.entries and index != self.entries[-1][1] + 1:
                        last = self.entries[-1][1]
                        raise self._damaged(name, offset, f"entry {index} follows entry {last}")
                    self.entries.append((command, index, term))
                case (1, int(from_index)):
                    first = self.entries[0][1] if self.entries else from_index
                    del self.entries[max(0, from_index - first) :]
                case (2, int(term), voted_for):
                    self.term, self.voted_for = term, voted_for
                case (3, int(version), int(term), voted_for):
                    if version > VERSION:
                        raise UnsupportedVersion(
                            f"{self._storage.path(name)} is of log version {version}; "
                            f"this program knows up to {VERSION}"
                        )
                    self.term, self.voted_for = term, voted_for
                case _:
                    raise self._damaged(name, offset, f"a record of unknown kind {record[:1]!r}")

    def _last_index(self) -> int:
        return self.entries[-1][1] if self.entries else 0
