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

from cluster.crashpoints import reach
from cluster.errors import StorageDamaged, UnsupportedVersion
from cluster.raft.membership import CONFIGURATION
from cluster.raft.storage import AppendFile, Storage, write_file

Entry = tuple[bytes, int, int]  # command, index, term: the order is pysyncobj's

LOG_VERSION = 1
SEGMENT_BYTES = 16 * 1024 * 1024
_HEADER = struct.Struct("<4sIQI")  # magic, body bytes, generation, body CRC; then the header's CRC
_CRC = struct.Struct("<I")
_MAGIC = b"QLG1"
_FRAME_BYTES = _HEADER.size + _CRC.size
PLACEHOLDER = b"\x01"  # pysyncobj's no-op: stands for an entry whose content a snapshot holds.
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
        self._segment_ends: dict[str, int] = {}  # Segment -> the highest index it ever held.
        self.configurations: list[Entry] = []  # Those of the entries that hold one, in order.
        self.bytes_appended = 0  # Of commands, by this process.
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
        log.durable_index = log._sealed_index = log.last_index
        log.configurations = [entry for entry in log._entries if entry[0][:1] == CONFIGURATION]
        return log

    def begin_after_snapshot(self, index: int, term: int) -> None:
        """Check, at start, that the log goes on from the snapshot at *index*; 0 is none.

        A log that ends before the snapshot, or disagrees with it, is older than the snapshot that
        was installed over it, and is begun anew from there.

        Raises:
            StorageDamaged: entries between the snapshot and the log are missing.
        """
        first = self._entries[0][1] if self._entries else index
        if first > max(index, 1):
            raise StorageDamaged(
                f"{self._storage.path(self._segment_name or 'log')} begins at entry {first}, but "
                f"the newest snapshot ends at {index}: a snapshot is missing; restore it, or "
                "move the data directory away and start this node as a new member"
            )
        if index and self._segment_name is None:
            raise StorageDamaged(
                f"{self._storage.path('')} holds a snapshot but no log: the votes of this node are "
                "forgotten; move the data directory away and start this node as a new member"
            )
        if index and self.term_at(index) != term:
            self.restart_at(index, term)

    # What the engine and its driver use.

    @property
    def first_index(self) -> int:
        """The oldest entry kept."""
        return self._entries[0][1]

    @property
    def last_index(self) -> int:
        """The newest entry, durable or not; 0 in a log that was never begun."""
        return self._entries[-1][1] if self._entries else 0

    def term_at(self, index: int) -> int | None:
        """The term of the entry at *index*, or None if it is not kept."""
        if not self._entries or not self.first_index <= index <= self.last_index:
            return None
        return self._entries[index - self.first_index][2]

    def tail_of(self, index: int, *, bytes_max: int, entries_max: int) -> int:
        """Where a tail begins that ends at *index* and stays within both bounds."""
        start = index
        size = 0
        oldest = max(self.first_index, index - entries_max)
        while start > oldest and size <= bytes_max:
            start -= 1
            size += len(self._entries[start - self.first_index][0])
        return start

    def compact(self, index: int) -> list[str]:
        """Forget the entries before *index*; a snapshot holds them.

        Returns:
            The segments that are no longer needed, for `drop` to remove.
        """
        del self._entries[: index - self.first_index]
        self.configurations = [entry for entry in self.configurations if entry[1] >= index]
        obsolete = [
            name
            for name, end in self._segment_ends.items()
            if end < index and name != self._segment_name
        ]
        for name in obsolete:
            del self._segment_ends[name]
        return obsolete

    def drop(self, segments: list[str]) -> None:
        """Remove *segments*, oldest first. Blocks: for the log's own thread."""
        for name in sorted(segments):
            reach("log.before_segment_removed")
            self._storage.remove(name)
            reach("log.after_segment_removed")

    def restart_at(self, index: int, term: int) -> None:
        """Begin anew after the snapshot at *index*: nothing that was here extends it."""
        self.clear()
        self.add(PLACEHOLDER, index, term)

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
        assert self._segment_name is not None
        self._segment_ends[self._segment_name] = max(
            self._segment_ends.get(self._segment_name, 0),
            max((record[1] for record in records if record[0] == _ENTRY), default=0),
        )
        self._sealed_index = self.last_index
        return Generation(self._generation, self._segment_name, frame)

    def write(self, generation: Generation) -> None:
        """Write *generation* and return once it is durable. Blocks: for the log's own thread."""
        if self._file is None or self._file_name != generation.segment:
            self.close()
            self._file = self._storage.open_append(generation.segment)
            self._file_name = generation.segment
            reach("log.after_segment_created")
        reach("log.before_write")
        self._file.append(generation.frame)
        reach("log.after_sync")

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
        self.bytes_appended += len(command)
        if command[:1] == CONFIGURATION:
            self.configurations.append(self._entries[-1])

    def clear(self) -> None:
        self._entries.clear()
        self.configurations.clear()
        self._records.append((_TRUNCATE, 0))
        self.durable_index = self._sealed_index = 0

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803 - pysyncobj's name
        if entryFrom >= len(self._entries):
            return
        from_index = self._entries[entryFrom][1]
        del self._entries[entryFrom:]
        while self.configurations and self.configurations[-1][1] >= from_index:
            self.configurations.pop()
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
                break
            self._replay_records(name, offset, body)
            self._segment_ends[name] = max(self._segment_ends.get(name, 0), self.last_index)
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
        self._segment_name, self._segment_size = name, offset

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
