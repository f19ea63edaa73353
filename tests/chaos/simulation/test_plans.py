"""What seeds once broke, shrunk to the fewest faults that still did: it must hold for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.simulation.plan import Plan
from chaos.simulation.simulation import simulate

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_what_once_broke_holds(file: Path) -> None:
    report = simulate(Plan.from_json(json.loads(file.read_text())))

    assert not report.violations
