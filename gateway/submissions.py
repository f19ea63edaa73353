"""Submissions: what is to be run, as a caller says it. Knows no network and no cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar, Unpack

from gateway.ids import new_id
from gateway.instants import Moment, of_caller

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Backoff(TypedDict, total=False):
    """How long a failed task waits for its next attempt; times in seconds."""

    initial: float
    multiplier: float
    max: float
    jitter: float  # The share by which a pause may be longer or shorter.


class TaskOptions(TypedDict, total=False):
    """What all tasks of one type may share. Durations are seconds."""

    queue: str
    priority: int | Literal["low", "normal", "high", "critical"]
    max_attempts: int
    backoff: Backoff
    timeout: float  # That a run may take.
    ttl: float  # That it may wait before it expires.
    retention: float  # That it is kept once it has ended.
    requires: Sequence[str]  # Worker tags.
    meta: Mapping[str, str]


class SubmitOptions(TaskOptions, total=False):
    """What a submission may say of its one task besides."""

    id: str  # The same id again is the same task.
    idempotency_key: str
    delay: float
    run_at: Moment


class Submission(Generic[R_co]):
    """A task that is still to be submitted. A handler's own tells the type of its result."""

    __slots__ = ("data", "options", "type")

    def __init__(
        self: Submission[Any], type_: str, data: object = None, /, **options: Unpack[SubmitOptions]
    ) -> None:
        self.type = type_
        self.data = data
        self.options = options

    def body(self) -> dict[str, Any]:
        """The API's object for it, with an id: so it may be sent again, and is one task."""
        body: dict[str, Any] = {
            "id": new_id(),
            "type": self.type,
            "data": self.data,
            **self.options,
        }
        if "run_at" in body:
            body["run_at"] = of_caller(body["run_at"])
        return body


class Submittable(Protocol[P, R_co]):
    """What knows its own arguments and result: a handler made by `node.task` is one."""

    def submission(self, *args: P.args, **kwargs: P.kwargs) -> Submission[R_co]:
        """The submission of a call with these arguments."""


def submission_of(
    task: Submittable[..., R_co] | str, /, *args: Any, **kwargs: Any
) -> Submission[R_co]:
    """The submission of a handler with its arguments, or of a type with its data and options.

    Raises:
        TypeError: it is neither, or the arguments do not fit.
    """
    if isinstance(task, str):
        return Submission(task, *args, **kwargs)
    if not hasattr(task, "submission"):
        raise TypeError(f"{task!r} is neither a type's name nor a handler: @task makes one of it")
    return task.submission(*args, **kwargs)
