"""What a handler is told of the run it is in, and what it may say meanwhile.

Knows no network: what is said goes to whoever runs the handler.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("quorate.task")


class GiveUp(Exception):
    """Raised by a handler: this task failed, and trying it again would change nothing."""


class TaskLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with the task's id."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        task_id = self.extra["task_id"] if self.extra else ""
        return f"task {task_id}: {msg}", kwargs


def _unheard(_value: Any) -> None:
    """Nobody listens: the handler was called without a cluster."""


_MAKING = threading.Lock()


class Cancellation:
    """Whether a run should stop. It is set from the worker's loop, and looked at from anywhere."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: threading.Event | None = None  # Made for the first who waits: few do.

    def set(self) -> None:
        """Ask the run to stop."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def is_set(self) -> bool:
        """Whether it was asked to."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is, or for *timeout* seconds; returns whether it is."""
        with _MAKING:
            event = self._event = self._event or threading.Event()
        return self._is_set or event.wait(timeout)


@dataclass(slots=True, kw_only=True)
class Context:
    """What a handler may know about the run it is in. Made bare, it serves a handler's tests.

    Every method may be called from any thread, and none waits.
    """

    task_id: str = ""
    type: str = ""
    queue: str = "default"
    attempt: int = 1
    lease_token: int = 0  # Only grows: hand it on as a fencing token where effects are kept.
    meta: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    last_checkpoint: Any = None  # What an earlier run of the task left; None: begin at the start.
    cancelled: Cancellation = field(default_factory=Cancellation)
    on_progress: Callable[[Any], None] = _unheard
    on_checkpoint: Callable[[Any], None] = _unheard

    @property
    def is_cancelled(self) -> bool:
        """Whether the run should stop; a handler on a thread looks here now and then."""
        return self.cancelled.is_set()

    @property
    def log(self) -> TaskLog:
        """A logger that names the task in each line."""
        return TaskLog(log, {"task_id": self.task_id})

    def progress(self, value: Any) -> None:
        """Say how far the run is, for whoever looks at the task. A later word replaces it."""
        self.on_progress(value)

    def checkpoint(self, value: Any) -> None:
        """Leave *value* to the task's next run, should this one not finish.

        It is on its way when this returns, not yet stored: a worker that dies at once takes it
        along, and the next run is given the one before.
        """
        self.on_checkpoint(value)
