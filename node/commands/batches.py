"""A file's tasks in batches: lines of JSON, as many together as one call may carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gateway.encoding import Format, Undecodable, decode
from gateway.ids import new_id
from gateway.shapes import BATCH_TASKS_MAX

BATCH_BYTES_MAX = 1 << 20  # Of lines; more of them go with the next call.


class NotTaken(Exception):
    """Lines whose tasks were not taken: which, and why."""


class Batch(NamedTuple):
    """Tasks that are submitted together, and the number of the line that each is from."""

    tasks: list[dict[str, Any]]
    lines: list[int]


def batches(lines: Iterable[bytes]) -> Iterator[Batch]:
    """Each batch, as soon as its lines are read; each task has an id, so that it can be repeated.

    Raises:
        NotTaken: a line is no object of JSON.
    """
    batch, size = Batch([], []), 0
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        is_full = len(batch.tasks) == BATCH_TASKS_MAX or size + len(line) > BATCH_BYTES_MAX
        if is_full and batch.tasks:
            yield batch
            batch, size = Batch([], []), 0
        batch.tasks.append({"id": new_id(), **_task(line, number)})
        batch.lines.append(number)
        size += len(line)
    if batch.tasks:
        yield batch


def _task(line: bytes, number: int) -> dict[str, Any]:
    try:
        task = decode(line.strip(), Format.JSON)
    except Undecodable as error:
        raise NotTaken(f"line {number}: {error}") from None
    if not isinstance(task, dict):
        raise NotTaken(f"line {number} is no object, but {line.decode().strip()[:40]}")
    return task
