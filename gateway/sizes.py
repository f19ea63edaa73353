"""Sizes: how long what is told of a task is at most, known without writing it.

A message that is longer than its reader takes ends the connection, and would again on the next one.
Payloads count as they are stored: of JSON that is numbers like `1.0,` nine bytes of msgpack come of
four, which is the worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cluster.core.model import Lease
from cluster.core.queries import Progress, TaskView

ANSWER_BYTES_MAX = 7 << 20  # Which are less than 16 MiB at the worst, what a message may have.
_AROUND_BYTES_MAX = 2 << 10  # The members' names, ids, numbers and times of one task.
_HEADER_BYTES_MAX = 9


def leases_fitting(leases: Sequence[Lease], progress: Iterable[Progress], bytes_max: int) -> int:
    """How many of the first *leases* fit, with what was reported of them; at least one."""
    reported = {told.lease_token: told for told in progress}
    sizes = (_lease_bytes_max(lease, reported.get(lease.token)) for lease in leases)
    return _fitting(sizes, bytes_max)


def tasks_fitting(tasks: Sequence[TaskView], bytes_max: int) -> int:
    """How many of the first *tasks* fit; at least one, which does in any frame."""
    return _fitting(map(_task_bytes_max, tasks), bytes_max)


def _fitting(sizes: Iterable[int], bytes_max: int) -> int:
    count = total = 0
    for size in sizes:
        total += size
        if total > bytes_max and count > 0:
            break
        count += 1
    return count


def _lease_bytes_max(lease: Lease, progress: Progress | None) -> int:
    stored = (lease.payload, progress.progress if progress else None)
    return (
        _AROUND_BYTES_MAX
        + _text_bytes_max(lease.type)
        + _map_bytes_max(lease.meta)
        + sum(map(_stored_bytes, stored))
    )


def _task_bytes_max(task: TaskView) -> int:
    stored = (task.payload, task.progress, task.result)
    texts = (task.type, task.error or "", *task.requires)
    return (
        _AROUND_BYTES_MAX
        + sum(map(_text_bytes_max, texts))
        + _map_bytes_max(task.meta)
        + sum(map(_stored_bytes, stored))
    )


def _map_bytes_max(pairs: Iterable[tuple[str, str]]) -> int:
    return sum(_text_bytes_max(name) + _text_bytes_max(text) for name, text in pairs)


def _text_bytes_max(text: str) -> int:
    return _HEADER_BYTES_MAX + len(text) * (1 if text.isascii() else 4)


def _stored_bytes(payload: bytes | None) -> int:
    return _HEADER_BYTES_MAX + len(payload or b"")
