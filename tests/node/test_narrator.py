"""What a person reads of the children's lines."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from node.narrator import HumanNarrator, JsonNarrator, Narrator, is_routine

LINE = r"2026-01-31T12:00:00.123Z INFO worker1 node.runs task 7 failed in attempt 1"
TRACE = (
    r"\nTraceback (most recent call last):\n  File \"x.py\", line 1, in fail\nRuntimeError: no luck"
)


def printed(line: str) -> str:
    output = io.StringIO()
    HumanNarrator(Console(file=output, soft_wrap=True)).line("worker1", line)
    return output.getvalue().strip()


def test_of_a_traceback_the_last_line_is_shown() -> None:
    assert printed(LINE + TRACE) == "worker1  task 7 failed in attempt 1: RuntimeError: no luck"


def test_of_a_chain_of_errors_the_last_one_is_shown() -> None:
    chain = TRACE.replace("no luck", "first") + r"\n\nDuring handling of it:\n" + TRACE

    assert printed(LINE + chain).endswith("attempt 1: RuntimeError: no luck")


def test_a_message_without_a_traceback_stays_as_it_is() -> None:
    assert printed(LINE + r" \n and more").endswith(r"attempt 1 \n and more")


def test_warnings_are_no_routine() -> None:
    assert is_routine(LINE)
    assert not is_routine(LINE.replace("INFO", "WARNING"))
    assert not is_routine("quorate: 127.0.0.1:5000 is taken by another program")


@pytest.mark.parametrize("make", [HumanNarrator, JsonNarrator])
def test_what_cannot_be_told_ends_nothing(
    make: Callable[[], Narrator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log on a disk that is full, say: the cluster is worth more than its narration."""
    told = False
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as full:  # At its end it fails.
        monkeypatch.setattr(sys, "stdout", full)
        narrator = make()
        narrator.say("up", "3 nodes are up")
        narrator.line("node1", "a line")
        told = True

    assert told
