"""Events as clients read them: their objects, their frames in a stream, and which are wanted."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from cluster.core.model import Event, Position
from gateway import positions

FRAMES_REMEMBERED_MAX = 4_096  # So that a hundred readers of the same events encode each once.


class Wanted(NamedTuple):
    """Which events a reader wants; None is any."""

    task_id: str | None = None
    queue: str | None = None
    worker_id: str | None = None
    kinds: Collection[str] | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return all(wanted is None for wanted in self)

    def has(self, event: Event) -> bool:
        """Whether *event* passes every filter."""
        return (
            (self.task_id is None or event.task_id == self.task_id)
            and (self.queue is None or event.queue == self.queue)
            and (self.worker_id is None or event.worker_id == self.worker_id)
            and (self.kinds is None or event.kind in self.kinds)
        )


def event(happened: Event, mark: str) -> dict[str, object]:
    """One transition in the cluster with that mark; what does not apply is null.

    `time` is cluster time, in milliseconds.
    """
    return {
        "position": positions.written(happened.position, mark),
        "index": happened.index,
        "term": happened.term,
        "time": happened.time_ms,
        "kind": happened.kind,
        "task_id": happened.task_id,
        "queue": happened.queue,
        "status": happened.status,
        "worker_id": happened.worker_id,
        "lease_token": happened.lease_token,
        "attempt": happened.attempt,
        "error": happened.error,
        "node": happened.node,
    }


@lru_cache(maxsize=FRAMES_REMEMBERED_MAX)
def frame(happened: Event, mark: str) -> bytes:
    """One transition in an event stream (HTML standard, §9.2)."""
    members = event(happened, mark)
    told = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    written = f"id: {members['position']}\nevent: {happened.kind}\ndata: {told}\n\n"
    return written.encode("utf-8", "replace")


def position_frame(position: Position, mark: str) -> bytes:
    """That all up to *position* was told or left out: moves `Last-Event-ID`, shows nothing.

    A block without data is no event, but its id counts (HTML standard, §9.2.6).
    """
    return f"id: {positions.written(position, mark)}\n\n".encode()
