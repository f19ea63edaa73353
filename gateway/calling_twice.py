"""Which calls may be made a second time, when nobody knows whether the first one arrived.

By name, as `repeating.py` tells it of HTTP requests, but stricter: the second one also answers as
the first one did, or refuses in words that mean the same: a second `release` finds the lease gone,
a second `leave` the session. A call that is not named here is made once.
"""

from __future__ import annotations

from collections.abc import Mapping

READS = frozenset(
    {
        *("task", "tasks", "task_events", "dead_letters", "queues", "queue", "operation"),
        *("workers", "worker", "health", "cluster", "cluster_log", "livez", "readyz"),
    }
)
# What they change is named by an id or a lease token, and stays changed.
_SETTLED = frozenset(
    {
        *("cancel", "complete", "fail", "release", "progress", "pause_queue", "resume_queue"),
        *("lease", "heartbeat", "leave", "drain"),
    }
)
_IF_NAMED = frozenset({"submit", "register"})
_BATCH = "submit_batch"


def is_repeatable(name: str, body: Mapping[str, object]) -> bool:
    """Whether a second call changes nothing that the first one did not, and says as much."""
    if name in _IF_NAMED:
        return _is_named(body)
    if name == _BATCH:
        tasks = body.get("tasks")
        return isinstance(tasks, list) and all(map(_is_named, tasks))
    return name in READS or name in _SETTLED


def _is_named(item: object) -> bool:
    return isinstance(item, Mapping) and ("id" in item or "idempotency_key" in item)
