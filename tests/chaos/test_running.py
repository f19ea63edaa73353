"""What a run comes to: a doubt is no pass, and what was cut short is no contradiction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from chaos.checkers import CHECKERS, Evidence
from chaos.checkers.evidence import Fault
from chaos.checkers.verdicts import Status, Verdict, broken, held, inconclusive
from chaos.experiments import SHEETS
from chaos.history import Row, Type
from chaos.hosting import Place
from chaos.judging import judge
from chaos.running import Outcome
from chaos.scene import Expectation
from cluster.core.model import Event
from tests.conftest import CommandLine

SHEET = next(iter(SHEETS.values()))
MISSED = (Expectation("it goes on", "it did not", is_met=False),)
MET = (Expectation("it goes on", "it did", is_met=True),)


def outcome(
    verdicts: Mapping[str, Verdict] | None = None, expectations: tuple[Expectation, ...] = MET
) -> Outcome:
    return Outcome(
        sheet=SHEET,
        setting=SHEET.setting,
        place=Place(),
        verdicts={checker.name: held(1) for checker in CHECKERS} | dict(verdicts or {}),
        expectations=expectations,
        story=(),
        evidence=Evidence(),
    )


def test_a_run_that_held_all_and_was_as_expected_is_held() -> None:
    assert outcome().status is Status.HELD


def test_a_broken_promise_breaks_a_run() -> None:
    assert outcome({"fence": broken(1, "twice")}).status is Status.BROKEN


def test_something_else_than_expected_breaks_a_run_whose_fault_bit() -> None:
    assert outcome(expectations=MISSED).status is Status.BROKEN
    doubtful = {"total queue": inconclusive(0, "nobody asked")}
    assert outcome(doubtful, expectations=MISSED).status is Status.BROKEN


def test_a_fault_that_did_not_bite_proves_nothing_either_way() -> None:
    toothless = {"not vacuous": inconclusive(0, "it did not bite")}

    assert outcome(toothless).status is Status.INCONCLUSIVE
    assert outcome(toothless, expectations=MISSED).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("bites", [{}, {"held back": 0}, {"held back": 5, "ended": 0}])
def test_a_fault_bites_only_if_each_sign_shows(bites: dict[str, int]) -> None:
    row = Row("client", "submit", {"id": "a"}, "r", 1.5, 1.6, Type.OK, {"id": "a"})
    fault = Fault("cut", "node1", 1.0, 2.0, bites)

    verdicts = judge(Evidence(rows=[row], faults=[fault], floor=1), has_settled=True)

    assert verdicts["not vacuous"].status is Status.INCONCLUSIVE


@pytest.mark.parametrize(("has_settled", "status"), [(True, "broken"), (False, "inconclusive")])
def test_events_that_were_not_heard_to_their_end_contradict_nothing(
    has_settled: bool, status: str
) -> None:
    event = Event(1, 0, 1, 1, "submitted", "a", "default", "pending")
    evidence = Evidence(events=[event], final={"a": "completed"})

    assert judge(evidence, has_settled=has_settled)["conservation"].status.word == status


def test_a_place_that_cannot_be_written_is_said_before_anything_runs(
    command_line: CommandLine,
) -> None:
    there = str(Path("nowhere") / "page.html")

    done = command_line.run("chaos", "run", SHEET.name, "--report", there)

    assert done.returncode == 2
    assert "nowhere/page.html cannot be written" in done.stderr
    assert SHEET.question not in done.stdout


def test_a_machine_without_docker_is_told_so_in_a_sentence(command_line: CommandLine) -> None:
    done = command_line.run(
        *("chaos", "run", "kill-the-leader", "--target", "docker"),
        DOCKER_HOST="unix:///nowhere/docker.sock",
    )

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--target local" in done.stderr


def test_a_soak_wants_to_know_for_how_long(command_line: CommandLine) -> None:
    done = command_line.run("chaos", "soak")

    assert done.returncode == 2
    assert "--minutes" in done.stderr
