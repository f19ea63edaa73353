"""A short soak on real processes: it holds, its faults bite, and it tells what it did.

It takes a minute or two: `QUORATE_TEST_EXPERIMENTS=1` runs it, as CI does.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chaos.checkers import CHECKERS, Evidence
from chaos.checkers.evidence import Fault
from chaos.checkers.verdicts import Status, broken, held, inconclusive
from chaos.history import Row, Type, read_rows
from chaos.hosting import Place
from chaos.report import page
from chaos.report.records import of_soak
from chaos.scene import Expectation, Told
from chaos.setting import USUAL
from chaos.soak.keeping import keep
from chaos.soak.running import PROMISES, Soaked, soak
from chaos.soak.schedule import draw

slow = pytest.mark.skipif(
    not os.environ.get("QUORATE_TEST_EXPERIMENTS"), reason="QUORATE_TEST_EXPERIMENTS is not set"
)
SECONDS = 20.0
SEED = 3
ROW = Row("client", "submit", {"id": "a"}, "r", 1.0, float("inf"), Type.INFO)


@slow
async def test_a_short_soak_holds(free_port: int) -> None:
    place = Place(http_port=free_port, raft_port=free_port)

    soaked = await soak(lambda _told: None, seconds=SECONDS, seed=SEED, place=place)

    summary = soaked.summary()
    assert soaked.status is Status.HELD, (summary, soaked.story)
    assert summary["faults"]["total"] >= len(draw(SEED, SECONDS)) > 0
    for f in ("submit", "task", "register", "lease", "heartbeat", "complete"):
        assert summary["operations"][f]["ok"] > 0


def soaked(
    *, conservation: Status = Status.HELD, expectations: tuple[Expectation, ...] = ()
) -> Soaked:
    verdict = {
        Status.HELD: held(1),
        Status.BROKEN: broken(1, "gone", ROW),
        Status.INCONCLUSIVE: inconclusive(0, "unknown"),
    }[conservation]
    return Soaked(
        seed=SEED,
        seconds=SECONDS,
        place=Place(),
        setting=USUAL,
        schedule=draw(SEED, SECONDS),
        left_out={},
        verdicts={checker.name: held(1) for checker in CHECKERS} | {"conservation": verdict},
        expectations=expectations,
        story=[Told(1.0, "SIGKILL: node1")],
        evidence=Evidence(
            rows=[ROW], faults=[Fault("killed", "node1", 1.0, 2.0, {"processes ended": 1})]
        ),
        logs={"node1": "a line \udcff\n"},
    )


@pytest.mark.parametrize("status", Status)
def test_a_soak_is_as_good_as_its_worst_verdict(status: Status) -> None:
    assert soaked(conservation=status).status is status


def test_a_soak_that_did_not_come_to_its_end_proves_nothing() -> None:
    missed = (Expectation("the soak comes to its end", "it waited in vain", is_met=False),)

    assert soaked(expectations=missed).status is Status.INCONCLUSIVE


def test_a_promise_that_broke_is_broken_even_if_the_end_was_not_reached() -> None:
    missed = (Expectation("the soak comes to its end", "it waited in vain", is_met=False),)

    assert soaked(conservation=Status.BROKEN, expectations=missed).status is Status.BROKEN


def test_the_logs_are_not_read_so_their_promise_is_not_judged() -> None:
    assert "witness" not in PROMISES
    assert len(PROMISES) == len(CHECKERS) - 1


def test_a_summary_counts_operations_and_bites() -> None:
    summary = soaked().summary()

    assert summary["operations"] == {"total": 1, "submit": {"info": 1}}
    assert summary["faults"] == {"total": 1, "killed": {"times": 1, "processes ended": 1}}
    assert json.loads(json.dumps(summary)) == summary


def test_what_is_kept_gives_back_the_history_and_the_logs(tmp_path: Path) -> None:
    keep(soaked(conservation=Status.BROKEN), tmp_path / "kept")

    with (tmp_path / "kept" / "history.jsonl").open(encoding="utf-8") as file:
        assert list(read_rows(file)) == [ROW]
    assert (tmp_path / "kept" / "logs" / "node1.log").read_text().startswith("a line")
    assert json.loads((tmp_path / "kept" / "summary.json").read_text())["verdict"] == "broken"
    assert "gone" in (tmp_path / "kept" / "witnesses.json").read_text()


def test_the_page_of_a_soak_names_its_seed_and_runs_it_again() -> None:
    told = page(of_soak(soaked()))

    assert f"quorate chaos soak --minutes 0.333333 --seed {SEED}" in told
