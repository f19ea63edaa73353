"""The schema: what each body holds, and the commands that come of it.

Nothing unknown, missing or out of bounds gets past this module, so the log holds none of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from cluster.core.commands import Complete, Fail, Heartbeat, Register, Release, Report
from cluster.core.model import PAYLOAD_BYTES_MAX, Backoff, NewTask, Policy
from cluster.core.queue_commands import RetryDead
from gateway import idempotency, shapes
from gateway.checks import Invalid, each
from gateway.defaults import SubmitDefaults
from gateway.encoding import Format, encode
from gateway.fields import Members
from gateway.ids import new_id
from gateway.problems import ERRORS_MAX, FieldError, Problem, invalid

T = TypeVar("T")

WAIT_SECONDS_MAX = 60.0  # Of every long wait; more is capped, not refused.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)

_check_submission = shapes.SUBMISSION.nested()


class Wanted(NamedTuple):
    """A worker's wish for tasks: at most *slots*, waited for so long, under the caller's own id."""

    slots: int
    wait_seconds: float
    request_id: str | None
    lease_tokens: tuple[int, ...] | None = None  # What it holds, if it says so.


class Offering(NamedTuple):
    """A worker's standing offer: to hold so many tasks, and which leases it holds now."""

    epoch: int
    slots: int
    lease_tokens: tuple[int, ...] | None  # None: those that it was given here.


def new_task(
    body: object, headers: Mapping[str, str], standard: SubmitDefaults, written_in: Format
) -> NewTask:
    """The task that a submission describes, with everything filled in.

    Raises:
        Problem: 422 naming each wrong field, or 413 for too much data.
    """
    members = shapes.SUBMISSION.read(body)
    key = idempotency.key_of(members, headers)
    members.close()
    return _task(members, key, _traceparent(headers), standard, written_in)


def new_tasks(
    body: object, headers: Mapping[str, str], standard: SubmitDefaults, written_in: Format
) -> tuple[NewTask, ...]:
    """The tasks of a batch, in its order; keys are their own members.

    Raises:
        Problem: 422 naming each wrong field with its task's place, or 413 for too much data.
    """
    batch = shapes.BATCH.read(body)
    if idempotency.HEADER in headers:
        batch.refuse(idempotency.HEADER, "is of one task: in a batch each has its idempotency_key")
    batch.close()
    traceparent = _traceparent(headers)
    tasks: list[NewTask] = []
    mistakes: list[FieldError] = []
    for place, item in enumerate(batch[shapes.TASKS]):
        where = f"tasks[{place}]"
        try:
            members = each(where, _check_submission, item)
        except Invalid as error:
            mistakes += (FieldError(*told) for told in error.errors)
            if len(mistakes) >= ERRORS_MAX:
                break
            continue
        key = members.get(shapes.IDEMPOTENCY_KEY, None)
        tasks.append(_task(members, key, traceparent, standard, written_in, where=where + "."))
    if mistakes:
        raise invalid(mistakes)
    return tuple(tasks)


def register(body: object, *, node: str) -> Register:
    """The session that a worker asks for."""
    members = shapes.REGISTRATION.read(body)
    members.close()
    worker_id = members.get(shapes.WORKER_ID, "") or new_id()
    return Register(
        worker_id=worker_id,
        name=members.get(shapes.NAME, worker_id),
        queues=_distinct(members[shapes.QUEUES]),
        types=_distinct(members[shapes.TYPES]),
        tags=tuple(sorted(set(members[shapes.TAGS]))),
        slots=members[shapes.SLOTS],
        node=node,
    )


def wanted(body: object) -> Wanted:
    """What a worker's long poll asks for; `wait` above a minute is capped."""
    members = shapes.WISH.read(body)
    members.close()
    return Wanted(
        members[shapes.WANTED_MAX],
        min(members[shapes.WAIT] / 1000, WAIT_SECONDS_MAX),
        members.get(shapes.REQUEST_ID, None),
        _held(members),
    )


def offering(body: object) -> Offering:
    """What a worker's standing offer says."""
    members = shapes.OFFER.read(body)
    members.close()
    return Offering(members[shapes.EPOCH], members[shapes.OFFERED_SLOTS], _held(members))


def heartbeat(body: object, *, worker_id: str, node: str) -> Heartbeat:
    """The leases that a worker still holds."""
    members = shapes.HEARTBEAT.read(body)
    members.close()
    tokens = _distinct(members[shapes.LEASE_TOKENS])
    return Heartbeat(worker_id=worker_id, lease_tokens=tokens, node=node)


def complete(body: object, *, task_id: str, written_in: Format) -> Complete:
    """A run's result; left out, it is null."""
    members = shapes.COMPLETION.read(body)
    members.close()
    written = bounded(encode(members.get(shapes.RESULT, None), written_in), "result")
    return Complete(task_id, members[shapes.LEASE_TOKEN], written, written_in.value)


def fail(body: object, *, task_id: str) -> Fail:
    """A run's failure, and whether another attempt makes sense."""
    members = shapes.FAILURE.read(body)
    members.close()
    error = members[shapes.ERROR]
    bounded(error.encode(), "error")
    return Fail(task_id, members[shapes.LEASE_TOKEN], error, members[shapes.RETRY])


def release(body: object, *, task_id: str) -> Release:
    """A task handed back unfinished."""
    members = shapes.HAND_BACK.read(body)
    members.close()
    return Release(task_id, members[shapes.LEASE_TOKEN])


def report(body: object, *, task_id: str, written_in: Format) -> Report:
    """How far a run has come, in any form."""
    members = shapes.REPORT.read(body)
    members.close()
    written = bounded(encode(members[shapes.PROGRESS], written_in), "progress")
    return Report(task_id, members[shapes.LEASE_TOKEN], written, written_in.value)


def retry_dead(body: object, *, operation_id: str) -> RetryDead:
    """Which dead letters to put back; all of them if nothing is said."""
    members = shapes.DEAD_FILTER.read(body)
    members.close()
    queue, type_ = (members.get(field, None) for field in (shapes.DEAD_QUEUE, shapes.DEAD_TYPE))
    return RetryDead(operation_id, queue=queue, type=type_)


def nothing(body: object) -> None:
    """A body that may only be empty."""
    shapes.NOTHING.read(body).close()


def bounded(payload: bytes, field: str) -> bytes:
    """*payload*, unless it is over the limit.

    Raises:
        Problem: 413 naming the field, its size and the limit.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        detail = f"{field} has {len(payload):,} bytes, the limit is {PAYLOAD_BYTES_MAX:,}"
        raise Problem("too_large", detail, errors=[FieldError(field, detail)])
    return payload


def _held(members: Members) -> tuple[int, ...] | None:
    tokens = members.get(shapes.HELD, None)
    return None if tokens is None else _distinct(tokens)


def _task(
    members: Members,
    key: str | None,
    traceparent: str | None,
    standard: SubmitDefaults,
    written_in: Format,
    *,
    where: str = "",
) -> NewTask:
    data = members[shapes.DATA]
    new = NewTask.of(
        id=members.get(shapes.ID, "") or new_id(),
        type=members[shapes.TYPE],
        payload=bounded(encode(data, written_in), where + "data"),
        content_type=written_in.value,
        queue=members[shapes.QUEUE],
        priority=members[shapes.PRIORITY],
        delay_ms=members[shapes.DELAY],
        run_at_ms=members.get(shapes.RUN_AT, None),
        policy=_policy(members, standard),
        requires=tuple(sorted(set(members[shapes.REQUIRES]))),
        meta=members[shapes.META],
        traceparent=traceparent,
    )
    return new if key is None else idempotency.keyed(new, key, data)


def _policy(members: Members, standard: SubmitDefaults) -> Policy:
    return Policy(
        max_attempts=members.get(shapes.MAX_ATTEMPTS, standard.max_attempts),
        backoff=_backoff(members.get(shapes.BACKOFF, None), standard.backoff),
        timeout_ms=members.get(shapes.TIMEOUT, None),
        ttl_ms=members.get(shapes.TTL, None),
        retention_ms=members[shapes.RETENTION],
    )


def _backoff(members: Members | None, standard: Backoff) -> Backoff:
    if members is None:
        return standard
    return Backoff(
        members.get(shapes.INITIAL, standard.initial_ms),
        members.get(shapes.MULTIPLIER, standard.multiplier_thousandths),
        members.get(shapes.MAX, standard.max_ms),
        members.get(shapes.JITTER, standard.jitter_thousandths),
    )


def _traceparent(headers: Mapping[str, str]) -> str | None:
    """The caller's W3C trace, if it is well formed: else the standard has it ignored (§3.2)."""
    given = headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else None


def _distinct(items: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
