"""Files that rot, shrink, vanish or come back old; disks that fill or fail.

Whatever happened to one node's disk: it refuses in one line that names the file and how to mend it,
or it comes back unharmed; the others go on; and who follows the line loses nothing.
`QUORATE_TEST_DAMAGES` says how many of the damages that are refused are tried, all of them in CI;
which, is drawn.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.crash.conftest import Report, drawn, skip_out_loud
from tests.crash.disks import SmallDisk, why_not
from tests.crash.ledger import Ledger
from tests.crash.nodes import Nodes

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDS_SECONDS = 30.0
REFUSES_SECONDS = 30.0
OPTIONS = {"segment_bytes": 32 * 1024, "tail_entries": 5}
ENOUGH = 120  # Submissions that fill some segments.

Damage = Callable[[Ledger, Path], Path]  # Does it to a data directory; returns the file to name.


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ledger]:
    """One cluster for all that leaves it whole again."""
    nodes = Nodes(tmp_path_factory.mktemp("damage"), **OPTIONS)
    try:
        await nodes.start()
        yield Ledger(nodes, seed=0)
    finally:
        await nodes.close()


@pytest.fixture
def ledger(shared_ledger: Ledger, seed: int) -> Ledger:
    shared_ledger.random.seed(seed)
    return shared_ledger


# Damage.


def flip(ledger: Ledger, file: Path, *, first: int, last: int) -> Path:
    """Flip one bit of *file*, in a byte from *first* to *last*; negative ones count from its end"""
    content = bytearray(file.read_bytes())
    place = ledger.random.randrange(first % len(content), last % len(content) + 1)
    content[place] ^= 1 << ledger.random.randrange(8)
    file.write_bytes(content)
    return file


def segments(data: Path) -> list[Path]:
    found = sorted(data.glob("*.log"))
    assert len(found) >= 3, f"too little was written for this test: {found}"
    return found


def snapshot_of(data: Path) -> Path:
    [file] = data.glob("*.snapshot")
    return file


def truncate(file: Path, share: float) -> Path:
    os.truncate(file, int(file.stat().st_size * share))
    return file


def remove(file: Path) -> Path:
    file.unlink()
    return file


def remove_a_middle_segment(_ledger: Ledger, data: Path) -> Path:
    """The gap shows in the segment after it."""
    before = segments(data)
    before[1].unlink()
    return before[2]


REFUSED: dict[str, Damage] = {
    "first_segment_head": lambda on, data: flip(on, segments(data)[0], first=0, last=23),
    "first_segment_middle": lambda on, data: flip(on, segments(data)[0], first=24, last=-1),
    "last_segment_head": lambda on, data: flip(on, segments(data)[-1], first=0, last=23),
    "last_segment_end": lambda on, data: flip(on, segments(data)[-1], first=-30, last=-1),
    "snapshot_head": lambda on, data: flip(on, snapshot_of(data), first=0, last=3),
    "snapshot_middle": lambda on, data: flip(on, snapshot_of(data), first=12, last=-9),
    "snapshot_end": lambda on, data: flip(on, snapshot_of(data), first=-8, last=-1),
    "identity": lambda on, data: flip(on, data / "identity", first=0, last=-1),
    "segment_cut_short": lambda _, data: truncate(segments(data)[0], 0.7),
    "segment_missing": remove_a_middle_segment,
    "snapshot_cut_short": lambda _, data: truncate(snapshot_of(data), 0.5),
    "identity_missing": lambda _, data: remove(data / "identity"),
}


@pytest.mark.parametrize("damage", drawn(REFUSED, variable="QUORATE_TEST_DAMAGES", default=5))
async def test_a_node_refuses_a_damaged_file_and_its_advice_brings_it_back(
    ledger: Ledger, damage: str, report: Report
) -> None:
    victim = await prepare_a_victim(ledger)
    named = REFUSED[damage](ledger, ledger.nodes.data[victim])

    words = await refusal(ledger.nodes, victim)

    assert str(named) in words
    assert re.search(r"move .*directory away", words)
    async with ledger.under_load():
        await ledger.acknowledgements(50)  # The others go on.
        await follow_the_advice(ledger, victim)
    await counts_again(ledger, victim)
    await ledger.settle()
    report(words)


async def test_a_missing_snapshot_is_not_taken_for_an_empty_beginning(ledger: Ledger) -> None:
    victim = await prepare_a_victim(ledger, is_log_cut=True)
    snapshot_of(ledger.nodes.data[victim]).unlink()

    words = await refusal(ledger.nodes, victim)

    assert "a snapshot is missing" in words
    await follow_the_advice(ledger, victim)
    await ledger.settle()


async def test_a_stale_snapshot_put_back_is_not_gone_on_from(
    ledger: Ledger, tmp_path: Path
) -> None:
    nodes = ledger.nodes
    victim = await prepare_a_victim(ledger)
    stale = Path(shutil.copy(snapshot_of(nodes.data[victim]), tmp_path))
    await nodes.start(victim)
    await prepare_a_victim(ledger, victim, is_log_cut=True)
    snapshot_of(nodes.data[victim]).unlink()
    shutil.copy(stale, nodes.data[victim])

    words = await refusal(nodes, victim)

    assert "a snapshot is missing" in words
    await follow_the_advice(ledger, victim)
    await ledger.settle()


async def test_a_stale_snapshot_beside_the_newest_changes_nothing(
    ledger: Ledger, tmp_path: Path
) -> None:
    nodes = ledger.nodes
    victim = await prepare_a_victim(ledger)
    stale = Path(shutil.copy(snapshot_of(nodes.data[victim]), tmp_path))
    await nodes.start(victim)
    await prepare_a_victim(ledger, victim)
    shutil.copy(stale, nodes.data[victim])

    await nodes.start(victim)

    await ledger.settle()


async def test_a_log_whose_end_is_cut_off_catches_up(ledger: Ledger) -> None:
    """It looks like a torn write, which nobody was told of; here the others hold it all."""
    victim = await prepare_a_victim(ledger)
    truncate(segments(ledger.nodes.data[victim])[-1], 0.5)

    await ledger.nodes.start(victim)

    await ledger.settle()


async def test_a_missing_log_is_not_taken_for_an_empty_one(ledger: Ledger) -> None:
    """Without its log a member has forgotten its vote, too: it must not vote as itself."""
    victim = await prepare_a_victim(ledger)
    for file in segments(ledger.nodes.data[victim]):
        file.unlink()

    words = await refusal(ledger.nodes, victim)

    assert re.search(r"move .*directory away", words)
    await follow_the_advice(ledger, victim)
    await ledger.settle()


# Disks.


async def test_a_full_disk_stops_the_node_and_room_brings_it_back(
    tmp_path: Path, seed: int, report: Report
) -> None:
    if reason := why_not(loop=False):
        skip_out_loud(reason)
    disk = SmallDisk(tmp_path / "disk", kibibytes=256)
    nodes = Nodes(tmp_path, segment_bytes=32 * 1024)
    nodes.data["node2"] = disk.path / "data"
    ledger = Ledger(nodes, seed=seed)
    try:
        await nodes.start()

        async with ledger.under_load():
            status = await asyncio.wait_for(nodes["node2"].ended(), ENDS_SECONDS)
            await ledger.acknowledgements(50)  # The others go on.

        assert status == 1
        [words] = last_words(nodes, "node2")
        assert "No space left on device" in words
        report(words)

        disk.make_room(kibibytes=64 * 1024)
        await nodes.start("node2")
        await ledger.settle()
    finally:
        await nodes.close()
        disk.unmount()


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_failed_sync_stops_the_node_at_once(
    ledger: Ledger, role: str, report: Report
) -> None:
    nodes = ledger.nodes
    await nodes.start_the_ended()
    await nodes.whole()
    leader = await nodes.leader()
    victim = leader if role == "leader" else next(n for n in nodes.names if n != leader)
    nodes.log.clear()

    async with (
        ledger.under_load(),
        failing_sync(nodes[victim].pid, after=ledger.random.randrange(1, 30)),
    ):
        status = await asyncio.wait_for(nodes[victim].ended(), ENDS_SECONDS)
        await ledger.acknowledgements(50)

    assert status == 1
    [words] = last_words(nodes, victim)
    assert "Input/output error" in words
    report(words)
    await nodes.start(victim)
    await ledger.settle()


def last_words(nodes: Nodes, name: str) -> list[str]:
    """What a node says of why it stops."""
    return [line for who, line in nodes.log if who == name and "stops" in line]


class failing_sync:  # noqa: N801 - Used as a context.
    """While it lasts, the *after*-th fdatasync of the process from now on fails with EIO."""

    def __init__(self, pid: int, *, after: int) -> None:
        self._pid = pid
        self._after = after

    async def __aenter__(self) -> None:
        if shutil.which("strace") is None:
            skip_out_loud("strace is not installed")
        self._strace = await asyncio.create_subprocess_exec(
            *("strace", "-f", "-p", str(self._pid), "-o", os.devnull, "-e", "trace=fdatasync"),
            *("-e", f"inject=fdatasync:error=EIO:when={self._after}"),
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._strace.stderr is not None
        said = (await self._strace.stderr.readline()).decode()
        if "attached" not in said:
            await self._strace.wait()
            skip_out_loud(f"strace cannot attach: {said.strip()}")

    async def __aexit__(self, *_: object) -> None:
        if self._strace.returncode is None:
            self._strace.send_signal(signal.SIGTERM)
        await self._strace.communicate()


# What the tests do to a node, and with it.


async def prepare_a_victim(
    ledger: Ledger, victim: str | None = None, *, is_log_cut: bool = False
) -> str:
    """Have a node hold a snapshot and some segments after it, then kill it."""
    nodes = ledger.nodes
    await nodes.start_the_ended()
    await nodes.whole()
    victim = victim or ledger.random.choice(nodes.names)
    old = set(nodes.data[victim].glob("*.log"))
    await ledger.submit_many(10)
    await nodes[victim].ask("snapshot")
    await ledger.submit_many(ENOUGH)
    while is_log_cut and old & set(nodes.data[victim].glob("*.log")):
        await ledger.submit_many(ENOUGH)
        await nodes[victim].ask("snapshot")
    await nodes.all_level()
    await nodes.kill(victim)
    return victim


async def refusal(nodes: Nodes, name: str) -> str:
    """What `quorate node` says when it will not start on what is there: one line, status 1."""
    members = ",".join(f"{node}={address}" for node, address in nodes.addresses.items())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "node", "node", "--id", name, "--cluster", members),
        *("--http", "127.0.0.1:0", "--data", str(nodes.data[name])),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(REFUSES_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        pytest.fail(f"{name} started on a damaged directory: {output.decode()}")
    assert process.returncode == 1
    [line] = output.decode().splitlines()
    assert line.startswith("quorate: ")
    return line


async def follow_the_advice(ledger: Ledger, name: str) -> None:
    """Move the data directory away and start again; wait until the node is a member again."""
    data = ledger.nodes.data[name]
    shutil.rmtree(data.with_suffix(".damaged"), ignore_errors=True)
    data.rename(data.with_suffix(".damaged"))
    await ledger.nodes.start(name)
    await ledger.nodes.whole()


async def counts_again(ledger: Ledger, name: str) -> None:
    """With another node away, every write needs *name*."""
    await ledger.nodes.all_level()
    other = ledger.random.choice([node for node in ledger.nodes.names if node != name])
    await ledger.nodes.kill(other)
    await ledger.submit_many(5)
    await ledger.nodes.start(other)
