"""Every experiment on local processes: it holds, and what is said to break it does.

They take a quarter of an hour: `QUORATE_TEST_EXPERIMENTS=1` runs them. CI runs some of them with
every change.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from chaos.checkers.verdicts import Status
from chaos.experiments import SHEETS
from chaos.lab import told_of_the_end
from chaos.planted_lessons import LESSONS
from chaos.running import Outcome, run_locally
from chaos.simulation.catalogue import bugs

slow = pytest.mark.skipif(
    not os.environ.get("QUORATE_TEST_EXPERIMENTS"), reason="QUORATE_TEST_EXPERIMENTS is not set"
)


TRIES = 3  # A run that proves nothing, on a machine that had no time for it, is made again.


async def concluded(name: str, port: int, *, is_broken: bool) -> Outcome:
    """The first run that says something, or the last."""
    for _ in range(TRIES):
        outcome = await run_locally(
            SHEETS[name],
            lambda _told: None,
            is_broken=is_broken,
            http_port=port,
            raft_port=port,
        )
        if outcome.status is not Status.INCONCLUSIVE:
            break
    return outcome


@slow
@pytest.mark.parametrize("name", SHEETS)
async def test_an_experiment_holds(name: str, free_port: int) -> None:
    outcome = await concluded(name, free_port, is_broken=False)

    assert outcome.status is Status.HELD, (outcome.story, outcome.verdicts)


@slow
@pytest.mark.parametrize("name", SHEETS)
async def test_what_is_said_to_break_an_experiment_does(name: str, free_port: int) -> None:
    outcome = await concluded(name, free_port, is_broken=True)

    assert outcome.status is Status.BROKEN, (outcome.story, outcome.verdicts)


def test_every_sheet_asks_explains_and_can_be_broken() -> None:
    for sheet in SHEETS.values():
        assert sheet.question.endswith("?")
        assert sheet.prediction.endswith("?")
        assert sheet.explanation.endswith(".")
        assert sheet.why_broken.endswith(".")
        assert sheet.broken != sheet.setting


def test_every_bug_that_a_sheet_asks_for_can_be_planted() -> None:
    wanted = {sheet.broken.bug for sheet in SHEETS.values()} - {None}

    assert wanted
    assert wanted <= {*LESSONS, *bugs()}
    assert not set(LESSONS) & set(bugs())


@pytest.mark.parametrize("name", LESSONS)
def test_a_bug_of_the_exercises_finds_the_rule_that_it_takes_away(name: str) -> None:
    with ExitStack() as stack:
        LESSONS[name].patch(stack)


def test_the_course_tells_of_every_experiment() -> None:
    course = Path(__file__).parents[2] / "docs" / "exercises"
    chapters = [file.read_text() for file in course.glob("[1-6]-*.md")]
    index = (course / "README.md").read_text()

    for sheet in SHEETS.values():
        assert f"`{sheet.name}` | {sheet.question} |" in index
        assert any(f"quorate chaos run {sheet.name}" in chapter for chapter in chapters)


def test_what_was_never_taken_in_is_not_told_as_ended() -> None:
    final = {"one": "completed", "two": "failed", "three": None, "four": "pending"}

    assert told_of_the_end(final, 1) == "2 tasks have ended, 1 have not; 1 more were never taken in"
