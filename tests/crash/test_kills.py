"""SIGKILL at random moments under load, with snapshots all the time: nothing said is taken back.

`QUORATE_TEST_KILLS` says how many; 40 is what a change must pass, 200 a long run.
"""

from __future__ import annotations

import os

from tests.crash.conftest import SNAPSHOTS_OFTEN, MakeNodes, Report
from tests.crash.ledger import Ledger
from tests.crash.storms import storm

KILLS = int(os.environ.get("QUORATE_TEST_KILLS", "8"))


async def test_what_was_acknowledged_survives_kills_of_one_of_two_and_of_all(
    make_nodes: MakeNodes, seed: int, report: Report
) -> None:
    nodes = make_nodes(**SNAPSHOTS_OFTEN)
    ledger = Ledger(nodes, seed=seed)
    await nodes.start()

    async def kill(victims: list[str]) -> None:
        await nodes.kill(*victims)

    await storm(ledger, strikes=KILLS, strike=kill)
    await ledger.settle()

    taken = nodes.count_lines(r" snapshot at \d+ took ")
    installed = nodes.count_lines(r" installed a snapshot at ")
    report(f"{KILLS} kills, {taken} snapshots, {installed} installed; {ledger.summary()}")
    assert taken, "no snapshot was taken: the test proves too little"
