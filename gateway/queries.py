"""The schema of queries: what each address may ask for after its question mark."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cluster.answers import Consistency
from cluster.core.model import TaskStatus
from cluster.core.queries import ListTasks, ListWorkers
from gateway import checks
from gateway.fields import Fields
from gateway.schema import WAIT_SECONDS_MAX, check_name, check_type

LIST_LIMIT = 50
LIST_LIMIT_MAX = 1_000  # A higher one is capped, not refused.
TASKS, WORKERS = "t", "w"  # How cursors of these lists begin: one of another list is refused.
STATUSES: Mapping[str, TaskStatus] = {status.value: status for status in TaskStatus}
UNSERVED_LISTING = frozenset({"parent"})


class Reading(NamedTuple):
    """How fresh a read must be."""

    consistency: Consistency
    min_index: int


STALE = Reading(Consistency.STALE, 0)


def listing(query: Mapping[str, object]) -> tuple[ListTasks, Reading]:
    """A list's filters and page, and how fresh it must be."""
    fields = query_fields(query)
    tasks = ListTasks(
        status=fields.optional("status", checks.one_of(STATUSES), None),
        queue=fields.optional("queue", check_name, None),
        type=fields.optional("type", check_type, None),
        worker_id=fields.optional("worker", checks.uuid, None),
        limit=fields.optional("limit", _check_limit, LIST_LIMIT),
        cursor=fields.optional("cursor", _check_cursor(TASKS), None),
    )
    reading = _reading(fields)
    fields.close(unserved=UNSERVED_LISTING)
    return tasks, reading


def roster(query: Mapping[str, object]) -> tuple[ListWorkers, Reading]:
    """A page of the workers, and how fresh it must be. All of them, unless there are very many."""
    fields = query_fields(query)
    workers = ListWorkers(
        limit=fields.optional("limit", _check_limit, LIST_LIMIT_MAX),
        cursor=fields.optional("cursor", _check_cursor(WORKERS), None),
    )
    reading = _reading(fields)
    fields.close()
    return workers, reading


def task_reading(query: Mapping[str, object]) -> tuple[float, Reading]:
    """How long to wait for a task's end, in seconds, and how fresh the read must be."""
    fields = query_fields(query)
    wait = checks.decimal_text(checks.thousandths(0, 1e12))
    wait_ms = fields.optional("wait", wait, 0)
    reading = _reading(fields)
    fields.close()
    return min(wait_ms / 1000, WAIT_SECONDS_MAX), reading


def reading(query: Mapping[str, object]) -> Reading:
    """How fresh a read must be, and nothing else."""
    fields = query_fields(query)
    fresh = _reading(fields)
    fields.close()
    return fresh


def query_fields(query: Mapping[str, object]) -> Fields:
    """A query's parameters."""
    return Fields(query, what="the query")


def cursor_text(list_: str, cursor: int | None) -> str | None:
    """A cursor as clients carry it: opaque, so that it may change its meaning."""
    return None if cursor is None else f"{list_}{cursor:x}"


def _check_limit(value: object) -> int:
    asked = checks.integer_text(checks.integer(1, (1 << 63) - 1))(value)
    return min(asked, LIST_LIMIT_MAX)


def _check_cursor(list_: str) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(rf"{list_}[0-9a-f]{{1,15}}", value):
            return int(value[1:], 16)
        raise checks.refused("must be what `next` of an earlier page of this list said")

    return check


def _reading(fields: Fields) -> Reading:
    levels = {level.value: level for level in Consistency}
    index = checks.integer_text(checks.integer(0, (1 << 63) - 1))
    return Reading(
        fields.optional("consistency", checks.one_of(levels), Consistency.LINEARIZABLE),
        fields.optional("min_index", index, 0),
    )
