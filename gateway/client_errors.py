"""What a client raises when the cluster says no, or a task ended without a result.

QuorateError
├── NotCommitted            no gateway could be reached or none found a quorum: it did not happen
├── OutcomeUnknown          the answer was lost: it may have happened
├── RequestRefused          an answer, and it was no; `code` says which rule
│   ├── TaskUnknown
│   ├── WorkerUnknown       register
│   ├── WorkerLost          the session ended: register anew
│   ├── LeaseLost           another lease superseded this one: drop the run
│   ├── ClusterFull         there was no room for a task, as long as the client was patient
│   ├── EntriesGone         entries of the log that were asked for are no longer kept
│   ├── EventsGone          events that the reader has not seen are no longer kept
│   └── InvalidRequest      `errors` names each wrong field
└── NoResult                the task has ended, and there is no result; `task` is all that is known
    ├── TaskFailed          `error` is what its last attempt said
    ├── TaskCancelled
    └── TaskExpired         it waited for longer than its ttl
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.errors import QuorateError


class RequestRefused(QuorateError):
    """The cluster answered, and the answer is no. Repeating it at once changes nothing."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", f"the answer was HTTP {status}"))
        self.errors = tuple(problem.get("errors", ()))
        super().__init__(f"{self.detail} ({self.code})")


class TaskUnknown(RequestRefused):
    """There is no task with this id."""


class WorkerUnknown(RequestRefused):
    """There is no worker with this id: register."""


class WorkerLost(RequestRefused):
    """The worker's session has ended: register anew."""


class LeaseLost(RequestRefused):
    """The lease was superseded or taken back: nothing of this run counts any more."""


class ClusterFull(RequestRefused):
    """The cluster has no room for another task. It is safe to repeat, later."""


class EntriesGone(RequestRefused):
    """Entries of the log that were asked for are no longer kept; it begins at `first`."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.first = int(problem.get("first", 1))


class EventsGone(RequestRefused):
    """Events that the reader has not seen are no longer kept; those after `oldest` are."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.oldest = str(problem.get("oldest", ""))


class InvalidRequest(RequestRefused):
    """The request's own fields are wrong; `errors` names each."""


_BY_CODE: Mapping[str, type[RequestRefused]] = {
    "task_unknown": TaskUnknown,
    "worker_unknown": WorkerUnknown,
    "worker_lost": WorkerLost,
    "lease_lost": LeaseLost,
    "cluster_full": ClusterFull,
    "entries_gone": EntriesGone,
    "events_gone": EventsGone,
    "invalid": InvalidRequest,
}


def refusal(status: int, problem: Mapping[str, Any]) -> RequestRefused:
    """The error of the problem's code."""
    return _BY_CODE.get(str(problem.get("code")), RequestRefused)(status, problem)


class NoResult(QuorateError):
    """The task has ended, and there is no result."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self.task = task
        self.error = task["error"]
        because = "" if self.error is None else f": {self.error}"
        super().__init__(f"task {task['id']} of type {task['type']!r} {task['status']}{because}")


class TaskFailed(NoResult):
    """It failed, and will not be tried again unless it is retried by hand."""


class TaskCancelled(NoResult):
    """It was cancelled before it was completed."""


class TaskExpired(NoResult):
    """It waited for longer than its `ttl`, and never ran."""


NO_RESULTS: Mapping[str, type[NoResult]] = {
    "failed": TaskFailed,
    "cancelled": TaskCancelled,
    "expired": TaskExpired,
}  # By the status that the task ended in.
