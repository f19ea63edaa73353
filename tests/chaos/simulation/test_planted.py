"""Themes, and the planted bugs that only they show soon."""

from __future__ import annotations

import pytest

from chaos.simulation.campaign import seeds_until_caught
from chaos.simulation.catalogue import bugs
from chaos.simulation.plan import ORDINARY, draw
from chaos.simulation.themes import THEMES

# Bugs that few seeds of their themes show. All of them: `quorate chaos bugs`.
THEMED = (
    "apply-beyond-durable",
    "commit-of-an-earlier-term",
    "no-stickiness",
    "one-step-backtracking",
    "parcels-of-another-term",
    "read-back-is-durable",
    "read-without-a-round",
    "silence-for-ever",
)
SEEDS_MAX = 20


@pytest.mark.parametrize("bug", THEMED)
def test_a_planted_bug_is_caught_under_its_theme(bug: str) -> None:
    caught = seeds_until_caught(bug, first_seed=0, seeds_max=SEEDS_MAX)

    assert caught["seeds"] is not None


def test_a_bug_is_looked_for_under_a_theme_that_exists() -> None:
    assert {bug.theme for bug in bugs().values()} <= {None, *THEMES}


def test_every_theme_has_a_bug_that_is_looked_for_under_it() -> None:
    assert {bug.theme for bug in bugs().values()} >= set(THEMES)


@pytest.mark.parametrize("theme", THEMES)
def test_a_theme_shapes_the_plan(theme: str) -> None:
    plan = draw(7, theme=theme)

    assert plan.faults
    for field, choices in THEMES[theme].shape.items():
        assert getattr(plan, field) in choices


def test_some_seeds_draw_a_theme_by_themselves() -> None:
    themed = [seed for seed in range(100) if draw(seed) != draw(seed, theme=ORDINARY)]

    assert 5 <= len(themed) <= 40


def test_too_few_nodes_for_a_theme_draw_an_ordinary_plan() -> None:
    plans = [draw(seed, nodes=1) for seed in range(50)]

    assert plans == [draw(seed, nodes=1, theme=ORDINARY) for seed in range(50)]
