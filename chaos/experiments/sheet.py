"""A lab sheet: what an experiment asks, what it does, and what must be seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from chaos.checkers import CHECKERS
from chaos.lab import Lab
from chaos.setting import USUAL, Setting

# What a run on real processes gives evidence of: their logs are not read, and keys are a matter of
# experiments that repeat requests.
PROMISES = tuple(
    checker.name for checker in CHECKERS if checker.name not in ("witness", "idempotent")
)


class Sheet(NamedTuple):
    """One experiment. `method` injects and heals; what must hold is checked when it has ended."""

    name: str
    question: str
    prediction: str  # What the learner is asked to say before it runs.
    explanation: str  # Why it comes out as it does.
    method: Callable[[Lab], Awaitable[None]]
    broken: Setting  # Now break it: on this, the promise fails.
    why_broken: str
    setting: Setting = USUAL
    promises: tuple[str, ...] = PROMISES
