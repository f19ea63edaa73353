"""Answers: what each route says when it can, as JSON Schema. `render.py` makes what is said here.

Members are always there; what does not apply is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cluster.core.model import EVENT_KINDS, TaskStatus, WorkerStatus
from cluster.core.operations import OperationKind
from cluster.status import Role
from gateway.checks import Schema


class Answer(NamedTuple):
    """An object that is answered, under the name that `/openapi.json` gives it."""

    name: str
    schema: Schema


def _object(**members: Schema) -> Schema:
    """An object that has all of *members*."""
    return {"type": "object", "properties": members, "required": list(members)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _reference(answer: Answer) -> Schema:
    return {"$ref": f"#/components/schemas/{answer.name}"}


_ANY: Schema = {}
_TEXT: Schema = {"type": "string"}
_ID: Schema = {"type": "string", "format": "uuid"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SECONDS: Schema = {"type": "number", "minimum": 0}
_TOKEN: Schema = {"type": "integer", "minimum": 1}
_BOOLEAN: Schema = {"type": "boolean"}
_TRUE: Schema = {"const": True}
_CURSOR: Schema = {"anyOf": [_TEXT, {"type": "null"}], "description": "Of the next page, if any."}
_STATUS: Schema = {"type": "string", "enum": [status.value for status in TaskStatus]}
_META: Schema = {"type": "object", "additionalProperties": _TEXT}
_BACKOFF = _object(initial=_SECONDS, multiplier=_SECONDS, max=_SECONDS, jitter=_SECONDS)
_MILLISECONDS: Schema = {"type": "integer", "description": "Cluster time, in milliseconds."}

_TASK_MEMBERS: Mapping[str, Schema] = {
    "id": _ID,
    "type": _TEXT,
    "data": _ANY,
    "queue": _TEXT,
    "priority": {"type": "integer", "minimum": 0, "maximum": 9},
    "status": _STATUS,
    "attempts": _COUNT,
    "deliveries": _COUNT,
    "max_attempts": _COUNT,
    "backoff": _BACKOFF,
    "timeout": _or_null(_SECONDS),
    "ttl": _or_null(_SECONDS),
    "retention": _SECONDS,
    "requires": _list(_TEXT),
    "meta": _META,
    "traceparent": _or_null(_TEXT),
    "submitted_by": _or_null(_TEXT),
    "created_at": _TIME,
    "run_at": _or_null(_TIME),
    "started_at": _or_null(_TIME),
    "finished_at": _or_null(_TIME),
    "retry_at": _or_null(_TIME),
    "worker_id": _or_null(_ID),
    "lease_token": _or_null(_TOKEN),
    "progress": _ANY,
    "result": _ANY,
    "error": _or_null(_TEXT),
    "cancel_requested": _BOOLEAN,
    "waiting_for": {"enum": ["worker", None]},
}

TASK = Answer("Task", _object(**_TASK_MEMBERS))
# A write is answered with the task as it stands; should reading it back fail, with less of it.
MOVED_TASK = Answer(
    "MovedTask",
    {"type": "object", "properties": _TASK_MEMBERS, "required": ["id", "status"]},
)
SUBMITTED_TASK = Answer(
    "SubmittedTask",
    {
        "type": "object",
        "properties": {
            **_TASK_MEMBERS,
            "status": {
                "type": "string",
                "enum": [*(status.value for status in TaskStatus), "gone"],
                "description": "`gone`: it is known by its idempotency key and was removed since.",
            },
            "success": _TRUE,
            "task_id": _ID,
            "duplicate": {**_TRUE, "description": "It was submitted before."},
        },
        "required": ["id", "status", "success", "task_id"],
    },
)
TASK_IDS = Answer("TaskIds", _object(task_ids=_list(_ID), count=_COUNT))
TASK_PAGE = Answer("TaskPage", _object(tasks=_list(_reference(TASK)), count=_COUNT, next=_CURSOR))
DEAD_PAGE = Answer(
    "DeadLetterPage",
    _object(total=_COUNT, tasks=_list(_reference(TASK)), count=_COUNT, next=_CURSOR),
)
TIMELINE = Answer(
    "Timeline",
    _object(
        events=_list(
            _object(
                position=_or_null(_TEXT),
                index=_COUNT,
                term=_COUNT,
                time=_MILLISECONDS,
                kind={"type": "string", "enum": list(EVENT_KINDS)},
                status=_STATUS,
                worker_id=_or_null(_ID),
                lease_token=_or_null(_TOKEN),
                attempt=_or_null(_COUNT),
                error=_or_null(_TEXT),
            )
        ),
        count=_COUNT,
        dropped={**_COUNT, "description": "How many went between the first and the second."},
    ),
)
SETTLED = Answer(
    "Settled",
    {
        "type": "object",
        "properties": {
            "success": _TRUE,
            "task_id": _ID,
            "status": _STATUS,
            "duplicate": {**_TRUE, "description": "It was taken before; this changed nothing."},
            "result": {"description": "Of a repeated completion: the result that stands."},
        },
        "required": ["success", "task_id", "status"],
    },
)
SUCCESS = Answer("Success", _object(success=_TRUE))
STARTED = Answer("Started", _object(operation=_ID))
OPERATION = Answer(
    "Operation",
    _object(
        id=_ID,
        kind={"type": "string", "enum": [kind.value for kind in OperationKind]},
        queue=_or_null(_TEXT),
        type=_or_null(_TEXT),
        done=_COUNT,
        total=_COUNT,
        finished=_BOOLEAN,
    ),
)
QUEUE = Answer(
    "Queue",
    _object(
        name=_TEXT,
        paused=_BOOLEAN,
        depth=_object(**{status.value: _COUNT for status in TaskStatus}),
        oldest_seconds=_or_null(_SECONDS),
        max_concurrency=_or_null(_COUNT),
        rate_per_second=_or_null(_SECONDS),
        max_length=_or_null(_COUNT),
        weight=_COUNT,
    ),
)
QUEUE_PAGE = Answer(
    "QueuePage", _object(queues=_list(_reference(QUEUE)), count=_COUNT, next=_CURSOR)
)
WORKER = Answer(
    "Worker",
    _object(
        id=_ID,
        name=_TEXT,
        status={"type": "string", "enum": [status.value for status in WorkerStatus]},
        queues=_list(_TEXT),
        types=_list(_TEXT),
        tags=_list(_TEXT),
        slots=_COUNT,
        current_tasks=_list(_ID),
        tasks_processed=_COUNT,
        started_at=_TIME,
        last_heartbeat=_TIME,
        node=_TEXT,
    ),
)
WORKER_PAGE = Answer(
    "WorkerPage", _object(workers=_list(_reference(WORKER)), count=_COUNT, next=_CURSOR)
)
SESSION = Answer(
    "Session", _object(worker_id=_ID, lease_seconds=_SECONDS, heartbeat_seconds=_SECONDS)
)
LEASES = Answer(
    "Leases",
    _object(
        tasks=_list(
            _object(
                id=_ID,
                lease_token=_TOKEN,
                attempt=_COUNT,
                type=_TEXT,
                data=_ANY,
                queue=_TEXT,
                priority=_COUNT,
                timeout=_or_null(_SECONDS),
                meta=_META,
                traceparent=_or_null(_TEXT),
                cancel_requested=_BOOLEAN,
                progress=_ANY,
            )
        )
    ),
)
ORDERS = Answer("Orders", _object(cancel=_list(_ID), lost=_list(_TOKEN), drain=_BOOLEAN))
DRAINING = Answer("Draining", _object(success=_TRUE, current_tasks=_list(_ID)))
HEALTH = Answer(
    "Health",
    _object(
        status={"enum": ["healthy", "unhealthy"]},
        gateway=_TEXT,
        workers=_COUNT,
        pending_tasks=_COUNT,
        completed_tasks=_COUNT,
        timestamp=_TIME,
        leader=_or_null(_TEXT),
        term=_COUNT,
    ),
)
CLUSTER = Answer(
    "Cluster",
    _object(
        node_id=_TEXT,
        role={"enum": [role.value for role in Role]},
        term=_COUNT,
        leader=_or_null(_TEXT),
        commit_index=_COUNT,
        applied_index=_COUNT,
        members=_list(
            _object(
                id=_TEXT,
                raft=_TEXT,
                http=_or_null(_TEXT),
                role={"enum": [*(role.value for role in Role), None]},
                match_index=_or_null(_COUNT),
                last_contact=_or_null(_SECONDS),
                reachable=_BOOLEAN,
            )
        ),
        quorum=_BOOLEAN,
        state_hash=_TEXT,
        cluster_time=_MILLISECONDS,
        version=_TEXT,
    ),
)
LOG_PAGE = Answer(
    "LogPage",
    _object(
        entries=_list(
            _object(
                index=_COUNT,
                term=_COUNT,
                time=_or_null(_MILLISECONDS),
                wall_time=_or_null(_TIME),
                commands=_list({"type": "object"}),
            )
        ),
        first=_or_null(_COUNT),
        last=_or_null(_COUNT),
    ),
)
LIFE = Answer("Life", _object(status={"enum": ["alive"]}))
READINESS = Answer(
    "Readiness",
    {
        "type": "object",
        "properties": {"status": {"enum": ["ready", "not ready"]}, "reason": _TEXT},
        "required": ["status"],
    },
)
