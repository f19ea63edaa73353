"""The Raft log on disk: entries, terms and votes, in generations that are durable whole or not.

What one tick of the engine changed becomes one generation: one frame, one write, one fdatasync.
A frame is a header (magic, body bytes, generation, body CRC, header CRC) and a msgpack list of
records. Frames live in segments named by their first generation; a segment restates on its first
frame what is needed to start from it, so that older segments can be dropped whole.

On recovery the last frame may be *torn* (short, or zero-filled from some point on): it was never
durable, nobody was told of it, and it is cut. A whole frame with a wrong checksum is *damage*,
wherever it is: what it held may have been acknowledged, so the node must not go on as if it had
never been (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).

The camel-case methods are the journal that pysyncobj calls; their names are its own.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple, overload

import msgpack

from cluster.errors import StorageDamaged, UnsupportedVersion
from cluster.raft.storage import AppendFile, Storage

Entry = tuple[bytes, int, int]  # command, index, term: the order is pysyncobj's

LOG_VERSION = 1
SEGMENT_BYTES = 16 * 1024 * 1024
_HEADER = struct.Struct("<4sIQI")  # magic, body bytes, generation, body CRC; then the header's CRC
_CRC = struct.Struct("<I")
_MAGIC = b"QLG1"
_FRAME_BYTES = _HEADER.size + _CRC.size
_END = b"\xa5"  # The last byte of every body: a zero there was never written.
_SUFFIX = ".log"

# Record kinds, the first item of each record.
_ENTRY, _TRUNCATE, _VOTE, _SEGMENT = range(4)


class Generation(NamedTuple):
    """What one tick changed, ready to be written."""

    number: int
    segment: str
    frame: bytes


class Log:
    """The log in memory, and the generations that are yet to be made durable."""

    def __init__(self, storage: Storage, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._storage = storage
        self._segment_bytes = segment_bytes
        self._entries: list[Entry] = []
        self._records: list[tuple[Any, ...]] = []
        self._term = 0
        self._voted_for: str | None = None
        self._generation = 0
        self._sealed_index = 0  # The last entry of the newest sealed generation.
        self._segment_name: str | None = None
        self._segment_size = 0
        self._file: AppendFile | None = None
        self._file_name: str | None = None
        self.durable_index = 0

    @classmethod
    def recover(cls, storage: Storage, *, segment_bytes: int = SEGMENT_BYTES) -> Log:
        """Read what is there, cut a torn end, and stand ready to append.

        Raises:
            StorageDamaged: a frame is whole but wrong, or one is missing.
            UnsupportedVersion: a newer program wrote it.
        """
        log = cls(storage, segment_bytes=segment_bytes)
        names = [name for name in storage.names() if name.endswith(_SUFFIX)]
        for position, name in enumerate(names):
            log._replay_segment(name, is_last=position == len(names) - 1)
        log._records.clear()
        log.durable_index = log._sealed_index = log._entries[-1][1] if log._entries else 0
        return log

    # What the engine's driver uses.

    @property
    def is_dirty(self) -> bool:
        """Whether something is not yet part of a generation."""
        return bool(self._records)

    def seal(self) -> Generation:
        """Make one generation of all that changed since the last one."""
        self._generation += 1
        starts_segment = self._segment_name is None or self._segment_size >= self._segment_bytes
        records = self._records
        self._records = []
        if starts_segment:
            records.insert(0, (_SEGMENT, LOG_VERSION, self._term, self._voted_for))
        body = msgpack.packb(records, use_bin_type=True) + _END
        header = _HEADER.pack(_MAGIC, len(body), self._generation, zlib.crc32(body))
        frame = b"".join((header, _CRC.pack(zlib.crc32(header)), body))
        if starts_segment:
            self._segment_name = f"{self._generation:020d}{_SUFFIX}"
            self._segment_size = 0
        self._segment_size += len(frame)
        self._sealed_index = self._entries[-1][1] if self._entries else 0
        assert self._segment_name is not None
        return Generation(self._generation, self._segment_name, frame)

    def write(self, generation: Generation) -> None:
        """Write *generation* and return once it is durable. Blocks: for the log's own thread."""
        if self._file is None or self._file_name != generation.segment:
            self.close()
            self._file = self._storage.open_append(generation.segment)
            self._file_name = generation.segment
        self._file.append(generation.frame)

    def written(self, generation: Generation) -> None:
        """Note, on the loop, that *generation* is durable."""
        assert generation.number == self._generation, "one generation is written at a time"
        self.durable_index = self._sealed_index

    def close(self) -> None:
        """Let the files go; what was not written is forgotten."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # What pysyncobj calls.

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._entries.append((command, idx, term))
        self._records.append((_ENTRY, idx, term, command))

    def clear(self) -> None:
        self._entries.clear()
        self._records.append((_TRUNCATE, 0))
        self.durable_index = self._sealed_index = 0

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803 - pysyncobj's name
        if entryFrom >= len(self._entries):
            return
        from_index = self._entries[entryFrom][1]
        del self._entries[entryFrom:]
        self._records.append((_TRUNCATE, from_index))
        self.durable_index = min(self.durable_index, from_index - 1)
        self._sealed_index = min(self._sealed_index, from_index - 1)

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: ARG002, N802, N803 - pysyncobj's
        raise AssertionError("the log is compacted by ourselves, never by the engine")

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803 - pysyncobj's
        """Not kept: a commit index is learned anew, never trusted beyond the log."""

    def getRaftCommitIndex(self) -> int:  # noqa: N802 - pysyncobj's name
        return 1

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        if (term, votedForNodeId) == (self._term, self._voted_for):
            return
        self._term, self._voted_for = term, votedForNodeId
        self._records.append((_VOTE, term, votedForNodeId))

    def getCurrentTerm(self) -> int:  # noqa: N802 - pysyncobj's name
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802 - pysyncobj's name
        return self._voted_for

    def onOneSecondTimer(self) -> None:  # noqa: N802 - pysyncobj's name
        """Nothing is done by the second."""

    def _destroy(self) -> None:
        self.close()

    # Recovery.

    def _replay_segment(self, name: str, *, is_last: bool) -> None:
        content = self._storage.read(name)
        offset = 0
        while offset < len(content):
            body = self._frame_body(name, content, offset, is_last=is_last)
            if body is None:
                self._storage.truncate(name, offset)
                break
            self._replay_records(name, offset, body)
            offset += _FRAME_BYTES + len(body)
        if offset == 0 and is_last:
            self._storage.remove(name)  # Its very first frame was torn: it never was.
            return
        self._segment_name, self._segment_size = name, offset

    def _frame_body(self, name: str, content: bytes, offset: int, *, is_last: bool) -> bytes | None:
        """The body of the frame at *offset*, or None if the frame is torn."""
        body_start = offset + _FRAME_BYTES
        header = content[offset : offset + _HEADER.size]
        if len(content) < body_start or not any(content[offset:]):
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
        if self._segment_name is not None and generation != self._generation + 1:
            raise self._damaged(
                name, offset, f"generation {generation} follows generation {self._generation}"
            )
        self._generation = generation
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
                    if self._entries and index != self._entries[-1][1] + 1:
                        last = self._entries[-1][1]
                        raise self._damaged(name, offset, f"entry {index} follows entry {last}")
                    self._entries.append((command, index, term))
                case (1, int(from_index)):
                    first = self._entries[0][1] if self._entries else from_index
                    del self._entries[max(0, from_index - first) :]
                case (2, int(term), voted_for):
                    self._term, self._voted_for = term, voted_for
                case (3, int(version), int(term), voted_for):
                    if version > LOG_VERSION:
                        raise UnsupportedVersion(
                            f"{self._storage.path(name)} is of log version {version}; "
                            f"this program knows up to {LOG_VERSION}"
                        )
                    self._term, self._voted_for = term, voted_for
                case _:
                    raise self._damaged(name, offset, f"a record of unknown kind {record[:1]!r}")
