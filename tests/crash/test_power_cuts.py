"""Power cuts: the disk keeps what was synced and nothing else, of one node, of two, or of all.

Each node has a file system of its own, in a file; the cut is ext4's own shutdown, which forgets
what is not yet in its journal. `QUORATE_TEST_POWER_CUTS` says how many nodes lose power; 10 is what
a change must pass, 50 a long run.

The processes are stopped before their disks lose power: none of them may outlive it by a word. One
that runs on sees fdatasync succeed with its last append lost (docs/reliability.md), which no
machine without power could tell anyone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.crash.conftest import SNAPSHOTS_OFTEN, Report, skip_out_loud
from tests.crash.disks import LoopDisk, why_not
from tests.crash.ledger import BrokenWord, Ledger
from tests.crash.nodes import Nodes
from tests.crash.storms import storm

POWER_CUTS = int(os.environ.get("QUORATE_TEST_POWER_CUTS", "5"))

MakePowered = Callable[..., tuple[Nodes, Callable[[list[str]], Awaitable[None]]]]


@pytest.fixture
async def make_powered(tmp_path: Path) -> AsyncIterator[MakePowered]:
    """Describe a cluster with a disk for each node, and how nodes lose power and get it back."""
    if reason := why_not(loop=True):
        skip_out_loud(reason)
    with ExitStack() as stack:
        made: list[Nodes] = []

        def make(**options: Any) -> tuple[Nodes, Callable[[list[str]], Awaitable[None]]]:
            nodes = Nodes(tmp_path, **options)
            made.append(nodes)
            disks = {}
            for name in nodes.names:
                disks[name] = LoopDisk(tmp_path / f"{name}.image", tmp_path / f"{name}.disk")
                stack.callback(disks[name].unmount)
                nodes.data[name] = disks[name].path / "data"

            async def cut_power(names: list[str]) -> None:
                await nodes.still(*names)
                for name in names:
                    disks[name].lose_power()
                await nodes.kill(*names)
                for name in names:
                    disks[name].unmount()
                    disks[name].mount()

            return nodes, cut_power

        yield make
        for nodes in made:
            await nodes.close()


async def test_what_was_acknowledged_survives_power_cuts_of_one_of_two_and_of_all(
    make_powered: MakePowered, seed: int, report: Report
) -> None:
    nodes, cut_power = make_powered(**SNAPSHOTS_OFTEN)
    ledger = Ledger(nodes, seed=seed)
    report(f"QUORATE_TEST_SEED={seed}")
    await nodes.start()

    await storm(ledger, strikes=POWER_CUTS, strike=cut_power)
    await ledger.settle()

    taken = nodes.count_lines(r" snapshot at \d+ took ")
    report(f"{POWER_CUTS} power cuts, {taken} snapshots; {ledger.summary()}")


async def test_a_node_that_forgets_to_sync_is_found_out(
    make_powered: MakePowered, seed: int, report: Report
) -> None:
    """The test of the test: with the planted bug, the very same cut loses what was said."""
    nodes, cut_power = make_powered(is_sync_forgotten=True)
    ledger = Ledger(nodes, seed=seed)
    await nodes.start()
    await ledger.submit_many(50)

    await cut_power(nodes.names)
    await nodes.start()

    with pytest.raises(BrokenWord, match="lost") as found:
        await ledger.settle()
    report(str(found.value))
