"""The simulated disk: synced bytes survive anything, others only a kill."""

from __future__ import annotations

import pytest

from chaos.simulation.dice import dice
from chaos.simulation.disk import Disk, SimulatedStorage

NAME = "1.log"


@pytest.fixture(params=range(20))
def disk(request: pytest.FixtureRequest) -> Disk:
    disk = Disk(dice(request.param, "disk"))
    disk.create(NAME)
    disk.append(NAME, b"durable")
    return disk


def test_what_was_synced_survives_a_power_cut(disk: Disk) -> None:
    disk.interrupt(lambda: disk.append(NAME, b"under way"))
    disk.cut_power()

    assert disk.files[NAME].content.startswith(b"durable")


def test_what_was_not_synced_is_torn_or_zeros_after_a_power_cut(disk: Disk) -> None:
    disk.interrupt(lambda: disk.append(NAME, b"under way"))
    disk.cut_power()

    tail = bytes(disk.files[NAME].content[len(b"durable") :])
    assert b"under way".startswith(tail.rstrip(b"\0"))


def test_a_kill_keeps_what_was_written_as_not_yet_durable() -> None:
    outcomes = set()
    for seed in range(40):
        disk = Disk(dice(seed, "disk"))
        disk.create(NAME)
        disk.interrupt(lambda disk=disk: disk.append(NAME, b"under way"))  # type: ignore[misc]
        file = disk.files[NAME]
        outcomes.add((bytes(file.content), file.durable_bytes))

    assert (b"under way", 0) in outcomes


def test_a_failed_sync_raises_once_and_leaves_the_bytes_not_durable(disk: Disk) -> None:
    disk.fails_next_sync = True

    with pytest.raises(OSError, match="Input/output error"):
        disk.append(NAME, b" not")

    assert disk.files[NAME].durable_bytes == len(b"durable")
    disk.append(NAME, b" again")


def test_a_full_disk_takes_a_part_and_says_so(disk: Disk) -> None:
    disk.is_full = True

    with pytest.raises(OSError, match="No space left"):
        disk.append(NAME, b"more")


def test_a_flipped_bit_changes_one_byte(disk: Disk) -> None:
    disk.flip_bit()

    differing = [a != b for a, b in zip(disk.files[NAME].content, b"durable", strict=True)]
    assert sum(differing) == 1


def test_a_draft_is_not_there_before_it_is_committed(disk: Disk) -> None:
    storage = SimulatedStorage(disk, "here")
    draft = storage.open_draft()
    draft.add(b"content")
    assert storage.names() == [NAME]

    draft.commit("2.snapshot")

    assert storage.read("2.snapshot") == b"content"


def test_a_file_that_is_not_there_cannot_be_read(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        SimulatedStorage(disk, "here").read("gone")
