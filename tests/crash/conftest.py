"""What the tests of crashes share: clusters of processes, seeds, and words for the person."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.nodes import Nodes

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

MakeNodes = Callable[..., Nodes]
Report = Callable[[str], None]

# Snapshots after a few hundred commands, and nothing kept of the log before them.
SNAPSHOTS_OFTEN = {"snapshot_bytes": 96 * 1024, "segment_bytes": 32 * 1024, "tail_entries": 50}


@pytest.fixture
async def make_nodes(tmp_path: Path) -> AsyncIterator[MakeNodes]:
    """Describe a cluster of runners; every process of it ends with the test."""
    made: list[Nodes] = []

    def make(directory: Path = tmp_path, **options: Any) -> Nodes:
        made.append(Nodes(directory, **options))
        return made[-1]

    yield make
    for nodes in made:
        await nodes.close()


def drawn(names: Iterable[str], *, variable: str, default: int) -> list[str]:
    """As many of *names* as an environment variable asks for; in CI all, unless it says less."""
    every = sorted(names)
    wanted = int(os.environ.get(variable) or (len(every) if IN_CI else default))
    seed = os.environ.get("QUORATE_TEST_SEED") or str(random.randrange(1_000_000))
    return sorted(random.Random(seed).sample(every, min(wanted, len(every))))


def skip_out_loud(reason: str) -> None:
    """Skip a test for want of *reason*; in CI that is a failure, or nobody would ever notice."""
    if IN_CI:
        pytest.fail(f"not tried, though CI must: {reason}")
    pytest.skip(reason)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Say something to whoever runs the tests, with the seconds since this one began."""
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    began = time.monotonic()

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            elapsed = time.monotonic() - began
            terminal.write_line(f"\n  {request.node.name}, {elapsed:.1f} s: {text}")

    return say


@pytest.fixture
def seed() -> int:
    """What a test's dice are thrown from: QUORATE_TEST_SEED, or a new one each time.

    It is written to the output, which pytest shows of a test that failed.
    """
    drawn = int(os.environ.get("QUORATE_TEST_SEED") or random.randrange(1_000_000))
    sys.stdout.write(f"QUORATE_TEST_SEED={drawn}\n")
    return drawn
