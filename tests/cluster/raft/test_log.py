"""The log on a real disk: what was synced stays, what was torn is cut, what is damaged is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.errors import StorageDamaged, StorageError
from cluster.raft.log import REGULAR, Log
from cluster.raft.membership import CONFIGURATION
from cluster.raft.storage import Directory


class Disk:
    """Opens the same directory again and again, as restarts do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory: Directory | None = None

    def reopen(self, segment_bytes: int = 16 * 1024 * 1024) -> Log:
        self.close()
        self.directory = Directory(self.path)
        return Log.recover(self.directory, segment_bytes=segment_bytes)

    def close(self) -> None:
        if self.directory is not None:
            self.directory.close()

    def files(self) -> list[Path]:
        return sorted(self.path.glob("*.log"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.close()


def sync(log: Log) -> None:
    generation = log.seal()
    log.write(generation)
    log.written(generation)


def fill(log: Log, start: int, stop: int, term: int = 1) -> None:
    """One generation for each entry."""
    for index in range(start, stop):
        log.add(b"command %d" % index, index, term)
        sync(log)


def test_entries_terms_and_votes_survive_a_restart(disk: Disk) -> None:
    log = disk.reopen()
    log.setCurrentTerm(7, "node2")
    fill(log, 1, 4)
    log.close()

    log = disk.reopen()

    assert log[:] == [(b"command %d" % index, index, 1) for index in (1, 2, 3)]
    assert (log.getCurrentTerm(), log.getVotedForNodeId()) == (7, "node2")
    assert log.durable_index == 3


def test_a_truncation_survives_a_restart(disk: Disk) -> None:
    log = disk.reopen()
    fill(log, 1, 6)
    log.deleteEntriesFrom(2)
    log.add(b"other", 3, 2)
    sync(log)
    log.close()

    assert [entry[1:] for entry in disk.reopen()[:]] == [(1, 1), (2, 1), (3, 2)]


def test_what_was_not_sealed_is_not_durable(disk: Disk) -> None:
    log = disk.reopen()
    fill(log, 1, 3)
    log.add(b"later", 3, 1)

    assert log.durable_index == 2


def test_a_truncation_takes_durability_back_at_once(disk: Disk) -> None:
    log = disk.reopen()
    fill(log, 1, 6)

    log.deleteEntriesFrom(2)

    assert log.durable_index == 2


def test_a_truncation_during_a_write_does_not_make_the_new_tail_durable(disk: Disk) -> None:
    log = disk.reopen()
    fill(log, 1, 3)
    log.add(b"old", 3, 1)
    generation = log.seal()
    log.write(generation)
    log.deleteEntriesFrom(2)
    log.add(b"new", 3, 2)

    log.written(generation)

    assert log.durable_index == 2


@pytest.mark.parametrize(
    ("change", "is_plain"),
    [
        (lambda log: log.add(REGULAR + b"more", 3, 1), True),
        (lambda log: log.setCurrentTerm(2, "node1"), False),
        (lambda log: log.deleteEntriesFrom(1), False),
        (lambda log: log.add(CONFIGURATION, 3, 1), False),
    ],
    ids=["entry", "vote", "truncation", "configuration"],
)
def test_plain_is_a_generation_of_nothing_but_the_machines_entries(
    disk: Disk, change: Callable[[Log], None], is_plain: bool
) -> None:
    log = disk.reopen(segment_bytes=1)  # Also where it begins a segment, which restates a vote.
    fill(log, 1, 3)

    log.add(REGULAR + b"one", 3, 1)
    change(log)

    assert log.seal().is_plain is is_plain


def test_segments_are_read_in_order(disk: Disk) -> None:
    log = disk.reopen(segment_bytes=100)
    log.setCurrentTerm(3, None)
    fill(log, 1, 30)
    log.close()

    assert len(disk.files()) > 3
    assert [entry[1] for entry in disk.reopen(segment_bytes=100)[:]] == list(range(1, 30))


@pytest.mark.parametrize("cut", [1, 5, 23, 24, 30])
def test_a_short_tail_is_cut(disk: Disk, cut: int) -> None:
    log = disk.reopen()
    fill(log, 1, 4)
    log.close()
    last = disk.files()[-1]
    frame_bytes = last.stat().st_size // 3
    last.write_bytes(last.read_bytes()[: -min(cut, frame_bytes - 1)])

    assert [entry[1] for entry in disk.reopen()[:]] == [1, 2]
    assert [entry[1] for entry in disk.reopen()[:]] == [1, 2], "the tear is cut for good"


@pytest.mark.parametrize("zeros", [1, 2, 10, 30, 40])
def test_a_zero_filled_tail_is_cut(disk: Disk, zeros: int) -> None:
    log = disk.reopen()
    fill(log, 1, 4)
    log.close()
    last = disk.files()[-1]
    content = last.read_bytes()
    last.write_bytes(content[:-zeros] + b"\0" * zeros)

    assert [entry[1] for entry in disk.reopen()[:]] == [1, 2]


def test_zeros_after_the_last_frame_are_cut(disk: Disk) -> None:
    log = disk.reopen()
    fill(log, 1, 4)
    log.close()
    last = disk.files()[-1]
    last.write_bytes(last.read_bytes() + b"\0" * 4096)

    log = disk.reopen()
    fill(log, 4, 5)
    log.close()

    assert [entry[1] for entry in disk.reopen()[:]] == [1, 2, 3, 4]


def test_a_first_frame_that_was_torn_leaves_an_empty_log(disk: Disk) -> None:
    log = disk.reopen()
    fill(log, 1, 2)
    log.close()
    disk.files()[0].write_bytes(disk.files()[0].read_bytes()[:10])

    log = disk.reopen()
    assert len(log) == 0
    fill(log, 1, 3)
    log.close()

    assert [entry[1] for entry in disk.reopen()[:]] == [1, 2]


def each_frame(content: bytes) -> Iterator[int]:
    offset = 0
    while offset < len(content):
        yield offset
        offset += 24 + int.from_bytes(content[offset + 4 : offset + 8], "little")


@pytest.mark.parametrize("frame", [0, 1, 2])
@pytest.mark.parametrize("place", ["magic", "length", "crc", "body", "end"])
def test_a_flipped_bit_is_damage_wherever_it_is(disk: Disk, frame: int, place: str) -> None:
    log = disk.reopen()
    fill(log, 1, 4)
    log.close()
    file = disk.files()[-1]
    content = bytearray(file.read_bytes())
    offsets = [*each_frame(content), len(content)]
    offset, end = offsets[frame], offsets[frame + 1]
    flipped = {"magic": 0, "length": 4, "crc": 16, "body": 30, "end": end - offset - 1}[place]
    content[offset + flipped] ^= 0x10
    file.write_bytes(content)

    with pytest.raises(StorageDamaged) as caught:
        disk.reopen()
    assert str(file) in str(caught.value)
    assert f"byte {offset}" in str(caught.value)


def damage_by_cutting(files: list[Path]) -> None:
    files[1].write_bytes(files[1].read_bytes()[:-5])


def damage_by_removing(files: list[Path]) -> None:
    files[1].unlink()


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_by_removing])
def test_a_hole_before_the_last_segment_is_damage(
    disk: Disk, damage: Callable[[list[Path]], None]
) -> None:
    log = disk.reopen(segment_bytes=100)
    fill(log, 1, 30)
    log.close()
    damage(disk.files())

    with pytest.raises(StorageDamaged):
        disk.reopen(segment_bytes=100)


def test_a_segment_outlives_what_it_truncated(disk: Disk) -> None:
    log = disk.reopen(segment_bytes=300)
    fill(log, 1, 9)  # All in one segment, which the next ones cut short.
    log.deleteEntriesFrom(2)
    for index in range(3, 12):
        log.add(bytes(300), index, 2)
        sync(log)

    log.drop(log.compact(5))
    log.close()

    assert disk.reopen().last_index == 11


def test_a_log_begun_anew_is_not_cut_by_an_older_snapshot(disk: Disk) -> None:
    log = disk.reopen()
    fill(log, 1, 4)
    log.restart_at(10, 2)
    fill(log, 11, 31, term=2)

    log.compact(3)

    assert (log.first_index, log.last_index) == (10, 30)


def test_a_directory_serves_one_process_at_a_time(disk: Disk) -> None:
    disk.reopen()

    with pytest.raises(StorageError, match="in use by another process"):
        Directory(disk.path)


def test_every_directory_that_a_new_log_makes_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not in its parent after a power cut takes all that is in it along."""
    synced: list[Path] = []

    def fsync(descriptor: int, actually: Callable[[int], None] = os.fsync) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        actually(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    Directory(tmp_path / "cluster" / "node1").close()

    assert {tmp_path, tmp_path / "cluster"} <= set(synced)
