"""What a user's type checker is told: right calls pass, wrong ones are named where they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture(scope="module")
def errors() -> dict[str, set[tuple[int, str]]]:
    """By file, the lines and codes of mypy's errors."""
    files = [HERE / "accepted.py", HERE / "rejected.py"]
    read = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not read.stderr
    found: dict[str, set[tuple[int, str]]] = {file.name: set() for file in files}
    for line in read.stdout.splitlines():
        if match := re.match(r"(?:.*/)?(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", line):
            found[match[1]].add((int(match[2]), match[3]))
    return found


def test_right_calls_pass_with_the_types_of_their_results(
    errors: dict[str, set[tuple[int, str]]],
) -> None:
    assert errors["accepted.py"] == set()


def test_wrong_calls_are_refused_each_in_its_place(
    errors: dict[str, set[tuple[int, str]]],
) -> None:
    lines = (HERE / "rejected.py").read_text().splitlines()
    expected = {
        (number, match[1])
        for number, line in enumerate(lines, start=1)
        if (match := re.search(r"# E: ([a-z-]+)$", line))
    }

    assert len(expected) > 20
    assert errors["rejected.py"] == expected
