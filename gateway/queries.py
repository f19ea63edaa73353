"""The schema of queries: what each address may ask for after its question mark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cluster.answers import Consistency
from cluster.core.model import TaskStatus
from cluster.core.queries import ListTasks, ListWorkers
from cluster.core.queue_queries import ListDead, ListQueues
from gateway import checks
from gateway.checks import Check
from gateway.fields import Field, Members, Shape
from gateway.schema import WAIT_SECONDS_MAX
from gateway.shapes import check_name, check_type

LIST_LIMIT = 50
LIST_LIMIT_MAX = 1_000  # A higher one is capped, not refused.
# How cursors of these lists begin: one of another list is refused.
TASKS, WORKERS, DEAD, QUEUES = "t", "w", "d", "q"
STATUSES: Mapping[str, TaskStatus] = {status.value: status for status in TaskStatus}
_CONSISTENCIES = {level.value: level for level in Consistency}
_check_index = checks.integer_text(checks.integer(0, (1 << 63) - 1))


class Reading(NamedTuple):
    """How fresh a read must be."""

    consistency: Consistency
    min_index: int


STALE = Reading(Consistency.STALE, 0)
FRESH = Reading(Consistency.LINEARIZABLE, 0)


def _check_number(list_: str) -> Check[int]:
    pattern = rf"{list_}[0-9a-f]{{1,15}}"

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return int(value[1:], 16)
        raise checks.refused(_NO_CURSOR)

    return Check(read, {"type": "string", "pattern": f"^{pattern}$"})


def _check_queue_cursor() -> Check[str]:
    pattern = rf"{QUEUES}[A-Za-z0-9][A-Za-z0-9._:-]{{0,127}}"

    def read(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value.removeprefix(QUEUES)
        raise checks.refused(_NO_CURSOR)

    return Check(read, {"type": "string", "pattern": f"^{pattern}$"})


_NO_CURSOR = "must be what `next` of an earlier page of this list said"
_NEXT = "What `next` of the page before said."

CONSISTENCY = Field(
    "consistency",
    checks.one_of(_CONSISTENCIES),
    "`stale` reads this node at once, without asking the leader.",
    default=Consistency.LINEARIZABLE.value,
)
MIN_INDEX = Field(
    "min_index", _check_index, "An index that an earlier answer carried: the read is no older."
)
STATUS = Field("status", checks.one_of(STATUSES), "Only those of this status.")
QUEUE = Field("queue", check_name, "Only those of this queue.")
TYPE = Field("type", check_type, "Only those of this type.")
WORKER = Field("worker", checks.uuid, "Only those that this worker runs, or ran last.")
LIMIT = Field(
    "limit",
    checks.integer_text(checks.integer(1, (1 << 63) - 1)),
    f"How many at most; more than {LIST_LIMIT_MAX:,} are never given.",
)
TASK_CURSOR = Field("cursor", _check_number(TASKS), _NEXT)
WORKER_CURSOR = Field("cursor", _check_number(WORKERS), _NEXT)
DEAD_CURSOR = Field("cursor", _check_number(DEAD), _NEXT)
QUEUE_CURSOR = Field("cursor", _check_queue_cursor(), _NEXT)
FROM_INDEX = Field(
    "from",
    checks.integer_text(checks.integer(1, (1 << 63) - 1)),
    "The index of the first entry; without it the newest ones are given.",
)
WAIT = Field(
    "wait",
    checks.decimal_text(checks.wait_seconds),
    f"Seconds to wait for the task's end; {WAIT_SECONDS_MAX:g} at most.",
    default=0,
)

_FRESHNESS = (CONSISTENCY, MIN_INDEX)


def _query(name: str, *fields: Field[Any], unserved: frozenset[str] = frozenset()) -> Shape:
    return Shape(name, *fields, what="the query", unserved=unserved)


NOTHING = _query("NoQuery")
READING = _query("Reading", *_FRESHNESS)
TASK_READING = _query("TaskReading", WAIT, *_FRESHNESS)
# `parent` is in the public contract; no task has one in this version.
LISTING = _query(
    *("Listing", STATUS, QUEUE, TYPE, WORKER, LIMIT, TASK_CURSOR, *_FRESHNESS),
    unserved=frozenset({"parent"}),
)
ROSTER = _query("Roster", LIMIT, WORKER_CURSOR, *_FRESHNESS)
QUEUE_LISTING = _query("QueueListing", LIMIT, QUEUE_CURSOR, *_FRESHNESS)
LOG_PAGE = _query("LogPage", FROM_INDEX, LIMIT)
DEAD_LISTING = _query("DeadListing", QUEUE, TYPE, LIMIT, DEAD_CURSOR, *_FRESHNESS)


def log_page(query: Mapping[str, object]) -> tuple[int | None, int]:
    """The first entry of a page of the log, None for its newest, and how many there may be."""
    members = _read(LOG_PAGE, query)
    return members.get(FROM_INDEX, None), _limit(members)


def listing(query: Mapping[str, object]) -> tuple[ListTasks, Reading]:
    """A list's filters and page, and how fresh it must be."""
    members = _read(LISTING, query)
    tasks = ListTasks(
        status=members.get(STATUS, None),
        queue=members.get(QUEUE, None),
        type=members.get(TYPE, None),
        worker_id=members.get(WORKER, None),
        limit=_limit(members),
        cursor=members.get(TASK_CURSOR, None),
    )
    return tasks, _reading(members)


def roster(query: Mapping[str, object]) -> tuple[ListWorkers, Reading]:
    """A page of the workers, and how fresh it must be. All of them, unless there are very many."""
    members = _read(ROSTER, query)
    limit = _limit(members, LIST_LIMIT_MAX)
    return ListWorkers(limit=limit, cursor=members.get(WORKER_CURSOR, None)), _reading(members)


def queue_listing(query: Mapping[str, object]) -> tuple[ListQueues, Reading]:
    """A page of the queues, and how fresh it must be. All of them, unless there are very many."""
    members = _read(QUEUE_LISTING, query)
    limit = _limit(members, LIST_LIMIT_MAX)
    return ListQueues(limit=limit, cursor=members.get(QUEUE_CURSOR, None)), _reading(members)


def dead_listing(query: Mapping[str, object]) -> tuple[ListDead, Reading]:
    """A page of the dead letters, of all or some of them, and how fresh it must be."""
    members = _read(DEAD_LISTING, query)
    dead = ListDead(
        queue=members.get(QUEUE, None),
        type=members.get(TYPE, None),
        limit=_limit(members),
        cursor=members.get(DEAD_CURSOR, None),
    )
    return dead, _reading(members)


def task_reading(query: Mapping[str, object]) -> tuple[float, Reading]:
    """How long to wait for a task's end, in seconds, and how fresh the read must be."""
    members = _read(TASK_READING, query)
    return min(members[WAIT] / 1000, WAIT_SECONDS_MAX), _reading(members)


def reading(query: Mapping[str, object]) -> Reading:
    """How fresh a read must be, and nothing else."""
    return _reading(_read(READING, query))


def nothing(query: Mapping[str, object]) -> None:
    """A query that may only be empty."""
    _read(NOTHING, query)


def cursor_text(list_: str, cursor: int | str | None) -> str | None:
    """A cursor as clients carry it: opaque, so that it may change its meaning."""
    if cursor is None:
        return None
    return f"{list_}{cursor}" if isinstance(cursor, str) else f"{list_}{cursor:x}"


def _read(shape: Shape, query: Mapping[str, object]) -> Members:
    members = shape.read(query)
    members.close()
    return members


def _limit(members: Members, default: int = LIST_LIMIT) -> int:
    return min(members.get(LIMIT, default), LIST_LIMIT_MAX)


def _reading(members: Members) -> Reading:
    return Reading(members[CONSISTENCY], members.get(MIN_INDEX, 0))
