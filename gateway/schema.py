"""The schema: what each body may hold, and the commands that come of it.

Nothing unknown, missing or out of bounds gets past this module, so the log holds none of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from cluster.core.commands import Complete, Fail, Heartbeat, Register, Release, Report
from cluster.core.model import (
    DEFAULT_QUEUE,
    PAYLOAD_BYTES_MAX,
    PRIORITY_MAX,
    PRIORITY_NORMAL,
    SLOTS_MAX,
    Backoff,
    NewTask,
    Policy,
)
from gateway import checks, defaults, idempotency
from gateway.checks import Check
from gateway.defaults import SubmitDefaults
from gateway.encoding import Format, encode
from gateway.fields import Fields
from gateway.ids import new_id
from gateway.problems import FieldError, Problem

T = TypeVar("T")

WAIT_SECONDS_MAX = 60.0  # Of every long wait; more is capped, not refused.
LEASES_NAMED_MAX = 10 * SLOTS_MAX  # Tokens that a heartbeat may name, long lost ones among them.
SECONDS_MAX = defaults.DELAY_SECONDS_MAX

PRIORITIES: Mapping[str, int] = {"low": 1, "normal": PRIORITY_NORMAL, "high": 7, "critical": 9}

# What the public contract names and this version does not do yet: refused, never ignored.
UNSERVED_SUBMISSION = frozenset({"depends_on", "on_dependency", "key"})

check_type = checks.text(characters_max=255)
check_name = checks.name()
check_tag = checks.text(characters_max=128)
check_meta = checks.string_map(entries_max=64, name_characters_max=256, characters_max=1_024)
check_token = checks.integer(1, (1 << 63) - 1)
check_timeout = checks.thousandths(0.001, SECONDS_MAX)
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


class Wanted(NamedTuple):
    """A worker's wish for tasks: at most *slots*, waited for so long, under the caller's own id."""

    slots: int
    wait_seconds: float
    request_id: str | None


def new_task(
    body: object, headers: Mapping[str, str], standard: SubmitDefaults, written_in: Format
) -> NewTask:
    """The task that a submission describes, with everything filled in.

    Raises:
        Problem: 422 naming each wrong field, or 413 for too much data.
    """
    fields = Fields(body)
    if fields.has("delay") and fields.has("run_at"):
        fields.refuse("run_at", "goes without delay: give one of the two")
    task_id = fields.optional("id", checks.uuid, "")
    type_ = fields.required("type", check_type)
    data = fields.required("data", checks.anything)
    queue = fields.optional("queue", check_name, DEFAULT_QUEUE)
    priority = fields.optional("priority", _check_priority, PRIORITY_NORMAL)
    delay_ms = fields.optional("delay", checks.thousandths(0, SECONDS_MAX), 0)
    run_at_ms = fields.optional("run_at", checks.instant, None)
    requires = fields.optional("requires", checks.list_of(check_tag, items_max=32), ())
    meta = fields.optional("meta", check_meta, ())
    policy = _policy(fields, standard)
    key = idempotency.key_of(fields, headers)
    fields.close(unserved=UNSERVED_SUBMISSION)
    new = NewTask.of(
        id=task_id or new_id(),
        type=type_,
        payload=bounded(encode(data, written_in), "data"),
        content_type=written_in.value,
        queue=queue,
        priority=priority,
        delay_ms=delay_ms,
        run_at_ms=run_at_ms,
        policy=policy,
        requires=tuple(sorted(set(requires))),
        meta=meta,
        traceparent=_traceparent(headers),
    )
    return new if key is None else idempotency.keyed(new, key, data)


def register(body: object, *, node: str) -> Register:
    """The session that a worker asks for."""
    fields = Fields(body)
    names = checks.list_of(check_name, items_max=64, items_min=1)
    worker_id = fields.optional("id", checks.uuid, "") or new_id()
    queues = fields.optional("queues", names, (DEFAULT_QUEUE,))
    types = fields.optional("types", checks.list_of(check_type, items_max=1_000), ())
    tags = fields.optional("tags", checks.list_of(check_tag, items_max=32), ())
    slots = fields.optional("slots", checks.integer(1, SLOTS_MAX), 1)
    name = fields.optional("name", checks.text(characters_max=128), worker_id)
    fields.close()
    return Register(
        worker_id=worker_id,
        name=name,
        queues=_distinct(queues),
        types=_distinct(types),
        tags=tuple(sorted(set(tags))),
        slots=slots,
        node=node,
    )


def wanted(body: object) -> Wanted:
    """What a worker's long poll asks for; `wait` above a minute is capped."""
    fields = Fields(body)
    slots = fields.optional("max", checks.integer(1, SLOTS_MAX), 1)
    wait_ms = fields.optional("wait", checks.thousandths(0, SECONDS_MAX), 0)
    request_id: str | None = fields.optional("request_id", checks.text(characters_max=128), "")
    fields.close()
    return Wanted(slots, min(wait_ms / 1000, WAIT_SECONDS_MAX), request_id or None)


def heartbeat(body: object, *, worker_id: str, node: str) -> Heartbeat:
    """The leases that a worker still holds."""
    fields = Fields(body)
    check = checks.list_of(check_token, items_max=LEASES_NAMED_MAX)
    tokens = fields.optional("lease_tokens", check, ())
    fields.close()
    return Heartbeat(worker_id=worker_id, lease_tokens=_distinct(tokens), node=node)


def complete(body: object, *, task_id: str, written_in: Format) -> Complete:
    """A run's result; left out, it is null."""
    fields = Fields(body)
    token = fields.required("lease_token", check_token)
    result = fields.optional("result", checks.anything, None)
    fields.close()
    written = bounded(encode(result, written_in), "result")
    return Complete(task_id, token, written, written_in.value)


def fail(body: object, *, task_id: str) -> Fail:
    """A run's failure, and whether another attempt makes sense."""
    fields = Fields(body)
    token = fields.required("lease_token", check_token)
    error = fields.required("error", _check_string)
    retry = fields.optional("retry", checks.boolean, default=True)
    fields.close()
    bounded(error.encode(), "error")
    return Fail(task_id, token, error, retry)


def release(body: object, *, task_id: str) -> Release:
    """A task handed back unfinished."""
    fields = Fields(body)
    token = fields.required("lease_token", check_token)
    fields.close()
    return Release(task_id, token)


def report(body: object, *, task_id: str, written_in: Format) -> Report:
    """How far a run has come, in any form."""
    fields = Fields(body)
    token = fields.required("lease_token", check_token)
    progress = fields.required("progress", checks.anything)
    fields.close()
    written = bounded(encode(progress, written_in), "progress")
    return Report(task_id, token, written, written_in.value)


def nothing(body: object) -> None:
    """A body that may only be empty."""
    Fields(body).close()


def bounded(payload: bytes, field: str) -> bytes:
    """*payload*, unless it is over the limit.

    Raises:
        Problem: 413 naming the field, its size and the limit.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        detail = f"{field} has {len(payload):,} bytes, the limit is {PAYLOAD_BYTES_MAX:,}"
        raise Problem("too_large", detail, errors=[FieldError(field, detail)])
    return payload


def _policy(fields: Fields, standard: SubmitDefaults) -> Policy:
    plain = Policy()
    retention = checks.thousandths(0, SECONDS_MAX)
    return Policy(
        max_attempts=fields.optional(
            "max_attempts", defaults.check_attempts, standard.max_attempts
        ),
        backoff=fields.optional("backoff", _check_backoff(standard.backoff), standard.backoff),
        timeout_ms=fields.optional("timeout", check_timeout, plain.timeout_ms),
        ttl_ms=fields.optional("ttl", check_timeout, plain.ttl_ms),
        retention_ms=fields.optional("retention", retention, plain.retention_ms),
    )


def _check_backoff(standard: Backoff) -> Check[Backoff]:
    def check(value: object) -> Backoff:
        fields = Fields(value, what="backoff")
        backoff = Backoff(
            fields.optional("initial", defaults.check_delay, standard.initial_ms),
            fields.optional(
                "multiplier", defaults.check_multiplier, standard.multiplier_thousandths
            ),
            fields.optional("max", defaults.check_delay, standard.max_ms),
            fields.optional("jitter", defaults.check_jitter, standard.jitter_thousandths),
        )
        fields.end()
        return backoff

    return check


def _check_priority(value: object) -> int:
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if type(value) is int and 0 <= value <= PRIORITY_MAX:
        return value
    words = ", ".join(PRIORITIES)
    raise checks.refused(f"must be one of {words}, or an integer from 0 to {PRIORITY_MAX}")


def _check_string(value: object) -> str:
    if isinstance(value, str):
        return value
    raise checks.refused("must be a string")


def _traceparent(headers: Mapping[str, str]) -> str | None:
    """The caller's W3C trace, if it is well formed: else the standard has it ignored (§3.2)."""
    given = headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else None


def _distinct(items: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
