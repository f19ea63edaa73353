"""The nodes' own lines around a fault, of all processes in one order. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from chaos.checkers.evidence import Fault

BEFORE_SECONDS, AFTER_SECONDS = 1.0, 3.0
LINES_MAX = 60  # Around one fault.
LINE_CHARACTERS_MAX = 400

_STAMPED = re.compile(r"(\S+Z) ([A-Z]+) (\S+) (.*)")  # As `node/log.py` writes them.


class Line(NamedTuple):
    """One line of a process, at a time of the run's clock."""

    at: float
    process: str
    level: str
    text: str


def read(logs: Mapping[str, str], began: float) -> list[Line]:
    """Every line, by time; one without a stamp belongs to the line before it."""
    lines: list[Line] = []
    for process, text in logs.items():
        at = 0.0
        for line in text.splitlines():
            parsed = _parsed(line)
            if parsed is None:
                lines.append(Line(at, process, "", _cut(line)))
                continue
            moment, level, told = parsed
            at = moment - began
            lines.append(Line(at, process, level, _cut(told)))
    return sorted(lines, key=lambda line: line.at)


def around(lines: Sequence[Line], fault: Fault) -> tuple[list[Line], int]:
    """Those from shortly before the fault to shortly after its heal; and how many were left out."""
    begin, end = fault.injected - BEFORE_SECONDS, fault.healed + AFTER_SECONDS
    found = [line for line in lines if begin <= line.at <= end]
    return found[:LINES_MAX], max(0, len(found) - LINES_MAX)


def _parsed(line: str) -> tuple[float, str, str] | None:
    """The moment, the level and the rest; None of what no logger of ours wrote."""
    for stamp, level, told in _candidates(line):
        try:
            return datetime.fromisoformat(stamp).timestamp(), level, told
        except ValueError:
            continue
    return None


def _candidates(line: str) -> Iterator[tuple[str, str, str]]:
    if match := _STAMPED.fullmatch(line):
        stamp, level, _process, told = match.groups()
        yield stamp, level, told
    elif line.startswith("{"):
        try:
            row = json.loads(line)
            yield str(row["time"]), str(row["level"]).upper(), f"{row['logger']} {row['message']}"
        except (ValueError, KeyError, RecursionError):
            return


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS_MAX:
        return line
    return f"{line[:LINE_CHARACTERS_MAX]} … ({len(line)} characters)"
