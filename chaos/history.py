"""A history: what clients asked a cluster and what they were told, one row a request.

Data only. All times of one history are readings of one monotonic clock, in seconds. The vocabulary
is Jepsen's: `ok` happened, `fail` certainly did not, `info` may have, and a process that had an
`info` asks no more; another one goes on in its place.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TextIO

PROCESS_NUMBER = "#"  # Parts a process's name from how often it has been replaced.


class Type(StrEnum):
    """What a client knows of its request."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Row(NamedTuple):
    """One request, from its call to its answer.

    `f` is the operation as the API names it: `submit task complete fail cancel retry lease …`.
    `args` are what was asked, `value` what was answered: of an `ok` the members that matter, of a
    `fail` the problem's code. `index` is the log index that the answer carried, 0 if none.
    """

    process: str
    f: str
    args: Mapping[str, Any]
    request_id: str
    invoked: float
    returned: float  # Infinity while nobody has answered.
    type: Type
    value: Any = None
    node: str = ""
    index: int = 0  # type: ignore[assignment]  # Hides tuple.index.

    @property
    def task_id(self) -> str | None:
        """The task that it was about: the one answered, of a submission under a known key."""
        if self.f == "submit" and self.type is Type.OK and "id" in self.value:
            return str(self.value["id"])
        return self.args.get("id")


_RETURNED = Row._fields.index("returned")


class Recorder:
    """Collects rows as they end, and gives processes their names."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.rows: list[Row] = []
        self._open: dict[int, tuple[str, str, Mapping[str, Any], str, float]] = {}
        self._count = 0

    def invoke(self, process: str, f: str, args: Mapping[str, Any], *, request_id: str) -> int:
        """Note that *process* asks now; returns what `end` wants to know it by."""
        self._count += 1
        self._open[self._count] = (process, f, args, request_id, self.clock())
        return self._count

    def end(
        self, number: int, type_: Type, value: Any = None, *, node: str = "", index: int = 0
    ) -> Row:
        """Note that the request was answered now, or given up."""
        process, f, args, request_id, invoked = self._open.pop(number)
        row = Row(process, f, args, request_id, invoked, self.clock(), type_, value, node, index)
        self.rows.append(row)
        return row

    def history(self) -> list[Row]:
        """Every row in the order of the calls; whoever still waits may have been heard."""
        waiting = (
            Row(*asked, returned=float("inf"), type=Type.INFO) for asked in self._open.values()
        )
        return sorted([*self.rows, *waiting], key=_invoked)


def successor(process: str) -> str:
    """The process that goes on where *process* ended with an `info`."""
    name, _, number = process.partition(PROCESS_NUMBER)
    return f"{name}{PROCESS_NUMBER}{int(number or 0) + 1}"


def write_rows(rows: Iterable[Row], file: TextIO) -> None:
    """Write *rows* as JSON, one a line."""
    for row in rows:
        returned = None if row.returned == float("inf") else row.returned
        line = [*row[:_RETURNED], returned, *row[_RETURNED + 1 :]]
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Read what `write_rows` wrote.

    Raises:
        ValueError: a line holds no row; which one, and why.
    """
    for number, line in enumerate(lines, start=1):
        try:
            process, f, args, request_id, invoked, returned, type_, value, node, index = json.loads(
                line
            )
            ended = float("inf") if returned is None else float(returned)
            row = Row(process, f, args, request_id, invoked, ended, Type(type_), value, node, index)
        except (TypeError, ValueError) as error:
            raise ValueError(f"line {number} is no row of a history: {error}") from None
        yield row


def _invoked(row: Row) -> float:
    return row.invoked
