"""The processes: coordinator, worker, and the command line.

What is offered here is loaded when it is first asked for, so that the command line starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from node.context import Context, GiveUp
    from node.queuesync import Coordinator, Worker
    from node.tasks import Handler, task
    from node.worker import TaskWorker, WorkerSettings

__all__ = [
    "Context",
    "Coordinator",
    "GiveUp",
    "Handler",
    "TaskWorker",
    "Worker",
    "WorkerSettings",
    "task",
]

_HOMES = {
    "Context": "node.context",
    "Coordinator": "node.queuesync",
    "GiveUp": "node.context",
    "Handler": "node.tasks",
    "TaskWorker": "node.worker",
    "Worker": "node.queuesync",
    "WorkerSettings": "node.worker",
    "task": "node.tasks",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
