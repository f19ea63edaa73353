"""The Raft log: entries, terms and votes, in generations that are durable whole or not.

What one tick of the engine changed becomes one generation: one frame, one write, one fdatasync.
Frames live in segments (`segments.py`); a segment restates on its first frame what is needed to
start from it, so that older segments can be dropped whole.

The camel-case methods are the journal that pysyncobj calls; their names are its own.
"""

from __future__ import annotations

from typing import NamedTuple, overload

from cluster.crashpoints import reach
from cluster.errors import StorageDamaged
from cluster.raft.membership import CONFIGURATION
from cluster.raft.segments import (
    ENTRY,
    SEGMENT,
    SUFFIX,
    TRUNCATE,
    VERSION,
    VOTE,
    Entry,
    Record,
    Replay,
    encode,
    replay,
)
from cluster.raft.storage import AppendFile, Storage

SEGMENT_BYTES = 16 * 1024 * 1024
REGULAR = b"\x00"  # The first byte of an entry that is the machine's; pysyncobj's no-op has 1.
PLACEHOLDER = b"\x01"  # pysyncobj's no-op: stands for an entry whose content a snapshot holds.


class Generation(NamedTuple):
    """What one tick changed, ready to be written."""

    number: int
    segment: str
    frame: bytes
    is_plain: bool  # Nothing but entries of the machine: no term, vote, truncation or member.


class Log:
    """The log in memory, and the generations that are yet to be made durable."""

    def __init__(
        self, storage: Storage, found: Replay, *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._storage = storage
        self._segment_bytes = segment_bytes
        self._entries = found.entries
        self._records: list[Record] = []  # What changed, for the next generation.
        self._term = found.term
        self._voted_for = found.voted_for
        self._generation = found.generation
        self._segment_name = found.segment_name
        self._segment_size = found.segment_size
        self._segment_ends = found.segment_ends
        self._file: AppendFile | None = None
        self._file_name: str | None = None
        # Those of the entries that hold a configuration, in order.
        self.configurations = [entry for entry in found.entries if entry[0][:1] == CONFIGURATION]
        self.bytes_appended = 0  # Of commands, by this process.
        self.durable_index = self.last_index
        self._sealed_index = self.last_index  # The last entry of the newest sealed generation.

    @classmethod
    def recover(cls, storage: Storage, *, segment_bytes: int = SEGMENT_BYTES) -> Log:
        """Read what is there, cut a torn end, and stand ready to append.

        Raises:
            StorageDamaged: a frame is whole but wrong, or one is missing.
            UnsupportedVersion: a newer program wrote it.
        """
        return cls(storage, replay(storage), segment_bytes=segment_bytes)

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

        A log that was begun anew beyond *index* meanwhile has nothing to forget.

        Returns:
            The segments that are no longer needed, for `drop` to remove.
        """
        del self._entries[: max(0, index - self.first_index)]
        self.configurations = [entry for entry in self.configurations if entry[1] >= index]
        obsolete = []
        for name, end in self._segment_ends.items():
            # One that ends early may follow one that ends late, whose end it truncated: it stays
            # as long as that does, or the next start finds a hole.
            if end >= index or name == self._segment_name:
                break
            obsolete.append(name)
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
        is_plain = all(kind == ENTRY and rest[2][:1] == REGULAR for kind, *rest in records)
        if starts_segment:
            records.insert(0, (SEGMENT, VERSION, self._term, self._voted_for))
        frame = encode(self._generation, records)
        if starts_segment:
            self._segment_name = f"{self._generation:020d}{SUFFIX}"
            self._segment_size = 0
        self._segment_size += len(frame)
        assert self._segment_name is not None
        self._segment_ends[self._segment_name] = max(
            self._segment_ends.get(self._segment_name, 0),
            max((record[1] for record in records if record[0] == ENTRY), default=0),
        )
        self._sealed_index = self.last_index
        return Generation(self._generation, self._segment_name, frame, is_plain)

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
        self._records.append((ENTRY, idx, term, command))
        self.bytes_appended += len(command)
        if command[:1] == CONFIGURATION:
            self.configurations.append(self._entries[-1])

    def clear(self) -> None:
        self._entries.clear()
        self.configurations.clear()
        self._records.append((TRUNCATE, 0))
        self.durable_index = self._sealed_index = 0

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803 - pysyncobj's name
        if entryFrom >= len(self._entries):
            return
        from_index = self._entries[entryFrom][1]
        del self._entries[entryFrom:]
        while self.configurations and self.configurations[-1][1] >= from_index:
            self.configurations.pop()
        self._records.append((TRUNCATE, from_index))
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
        self._records.append((VOTE, term, votedForNodeId))

    def getCurrentTerm(self) -> int:  # noqa: N802 - pysyncobj's name
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802 - pysyncobj's name
        return self._voted_for

    def onOneSecondTimer(self) -> None:  # noqa: N802 - pysyncobj's name
        """Nothing is done by the second."""

    def _destroy(self) -> None:
        self.close()
