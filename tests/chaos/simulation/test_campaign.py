"""Many seeds: in processes that do not live for ever."""

from __future__ import annotations

import multiprocessing

import pytest

from chaos.simulation import campaign
from chaos.simulation.campaign import Terms, reports


def test_a_process_is_replaced_after_so_many_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "SEEDS_A_PROCESS", 1)

    seen = set()
    run = []
    for report in reports(0, 3, Terms(nodes=1), jobs=1, is_time_up=lambda: False):
        run.append(report.plan.seed)
        seen |= {child.pid for child in multiprocessing.active_children()}

    assert run == [0, 1, 2]
    assert len(seen) >= 2
