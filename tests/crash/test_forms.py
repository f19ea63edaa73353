"""A cluster of which one node runs the machine's sources, the others what was compiled of them."""

from __future__ import annotations

import pytest

from tests.cluster.test_compiled import is_compiled_elsewhere
from tests.crash.conftest import SNAPSHOTS_OFTEN, MakeNodes, Report, skip_out_loud
from tests.crash.ledger import Ledger

ACKNOWLEDGED = 400  # Tasks and completions, each time.


@pytest.mark.parametrize("interpreted", [["node1"], ["node1", "node2"]])
async def test_both_forms_come_to_the_same_states_and_read_each_other_s_snapshots(
    make_nodes: MakeNodes, seed: int, report: Report, interpreted: list[str]
) -> None:
    if not is_compiled_elsewhere():
        skip_out_loud("the machine was not compiled when Quorate was installed, or differs now")
    nodes = make_nodes(**SNAPSHOTS_OFTEN)
    nodes.interpreted.update(interpreted)
    ledger = Ledger(nodes, seed=seed)
    report(f"QUORATE_TEST_SEED={seed}")
    await nodes.start()

    async with ledger.under_load():
        for away in nodes.names:
            await ledger.acknowledgements(ACKNOWLEDGED)
            await nodes.kill(away)
            await ledger.acknowledgements(ACKNOWLEDGED)
            await nodes.start(away)
            ledger.note_hashes(await nodes.whole())
    await ledger.settle()

    installed = nodes.count_lines(r" installed a snapshot at ")
    report(f"{installed} snapshots installed; {ledger.summary()}")
    assert installed, "no snapshot went from one to another: the test proves too little"
