"""Rendering: the machine's views as the API's objects. Shapes and units change here only.

Times are RFC 3339 in UTC with milliseconds, durations seconds, fractions plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cluster.core.model import Backoff, Lease
from cluster.core.queries import Progress, TaskTimeline, TaskView, WorkerView
from cluster.core.queue_queries import OperationView, QueueView
from cluster.log_pages import EntryView
from cluster.status import ClusterStatus, MemberStatus
from gateway import instants, positions
from gateway.encoding import Stored


def task(view: TaskView) -> dict[str, object]:
    """A task as every client reads it. What does not apply is null, never absent."""
    return {
        "id": view.id,
        "type": view.type,
        "data": Stored(view.payload, view.content_type),
        "queue": view.queue,
        "priority": view.priority,
        "status": view.status.value,
        "attempts": view.attempts,
        "deliveries": view.deliveries,
        "max_attempts": view.policy.max_attempts,
        "backoff": _backoff(view.policy.backoff),
        "timeout": number(view.policy.timeout_ms),
        "ttl": number(view.policy.ttl_ms),
        "retention": number(view.policy.retention_ms),
        "requires": list(view.requires),
        "meta": dict(view.meta),
        "traceparent": view.traceparent,
        "submitted_by": view.submitted_by,
        "created_at": instants.written(view.created_at_ms),
        "run_at": instants.written(view.run_at_ms),
        "started_at": instants.written(view.started_at_ms),
        "finished_at": instants.written(view.finished_at_ms),
        "retry_at": instants.written(view.retry_at_ms),
        "worker_id": view.worker_id,
        "lease_token": view.lease_token,
        "progress": _outcome(view.progress, view.progress_content_type),
        "result": _outcome(view.result, view.result_content_type),
        "error": view.error,
        "cancel_requested": view.cancel_requested,
        "waiting_for": view.waiting_for,
    }


def leases(given: Iterable[Lease], progress: Iterable[Progress]) -> list[dict[str, object]]:
    """Tasks in a worker's hands, with what was reported of them."""
    reported = {told.lease_token: told for told in progress}
    return [_lease(each, reported.get(each.token)) for each in given]


def worker(view: WorkerView) -> dict[str, object]:
    """A worker's session."""
    return {
        "id": view.id,
        "name": view.name,
        "status": view.status.value,
        "queues": list(view.queues),
        "types": list(view.types),
        "tags": list(view.tags),
        "slots": view.slots,
        "current_tasks": list(view.current_tasks),
        "tasks_processed": view.tasks_processed,
        "started_at": instants.written(view.started_at_ms),
        "last_heartbeat": instants.written(view.last_heartbeat_ms),
        "node": view.node,
    }


def timeline(view: TaskTimeline, mark: str) -> list[dict[str, object]]:
    """What happened to a task in the cluster with that mark, told as `/events` tells it."""
    return [
        {
            "position": None if position is None else positions.written(position, mark),
            "index": entry.index,
            "term": entry.term,
            "time": entry.time_ms,
            "kind": entry.kind,
            "status": entry.status.value,
            "worker_id": entry.worker_id,
            "lease_token": entry.lease_token,
            "attempt": entry.attempt,
            "error": entry.error,
        }
        for entry, position in zip(view.entries, view.positions, strict=True)
    ]


def queue(view: QueueView, now_ms: int) -> dict[str, object]:
    """A queue; *now_ms* is cluster time, in which its tasks' age is counted."""
    since_ms = view.pending_since_ms
    return {
        "name": view.name,
        "paused": view.is_paused,
        "depth": {status.value: count for status, count in view.by_status},
        "oldest_seconds": None if since_ms is None else number(max(0, now_ms - since_ms)),
        # Limits that this version does not have yet: none is set, all queues weigh the same.
        "max_concurrency": None,
        "rate_per_second": None,
        "max_length": None,
        "weight": 1,
    }


def operation(view: OperationView) -> dict[str, object]:
    """How far an operation is."""
    return {
        "id": view.id,
        "kind": view.kind.value,
        "queue": view.queue,
        "type": view.type,
        "done": view.done,
        "total": view.total,
        "finished": view.is_finished,
    }


def cluster(status: ClusterStatus) -> dict[str, object]:
    """This node's own view of the cluster."""
    return {
        "node_id": status.node_id,
        "role": status.role.value,
        "term": status.term,
        "leader": status.leader,
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "members": [_member(member) for member in status.members],
        "quorum": status.has_quorum,
        "state_hash": status.state_hash,
        "cluster_time": status.cluster_time_ms,
        "version": status.version,
    }


def log_entry(view: EntryView) -> dict[str, object]:
    """An entry of the log. `time` is cluster time, in milliseconds, as that of an event."""
    return {
        "index": view.index,
        "term": view.term,
        "time": view.cluster_time_ms,
        "wall_time": instants.written(view.wall_time_ms),
        "commands": list(view.commands),
    }


def number(thousandths: int | None) -> int | float | None:
    """Thousandths as a plain number, whole where it is whole."""
    if thousandths is None:
        return None
    return thousandths // 1000 if thousandths % 1000 == 0 else thousandths / 1000


def _member(member: MemberStatus) -> dict[str, object]:
    return {
        "id": member.id,
        "raft": member.raft,
        "http": member.http,
        "role": member.role.value if member.role else None,
        "match_index": member.match_index,
        "last_contact": _seconds(member.last_contact_seconds),
        "reachable": member.is_reachable,
    }


def _seconds(measured: float | None) -> float | None:
    return None if measured is None else round(measured, 3)


def _backoff(backoff: Backoff) -> Mapping[str, object]:
    return {
        "initial": number(backoff.initial_ms),
        "multiplier": number(backoff.multiplier_thousandths),
        "max": number(backoff.max_ms),
        "jitter": number(backoff.jitter_thousandths),
    }


def _outcome(payload: bytes | None, content_type: str | None) -> object:
    if payload is None or content_type is None:
        return None
    return Stored(payload, content_type)


def _lease(given: Lease, progress: Progress | None) -> dict[str, object]:
    """A task in a worker's hands: what it needs to run it, or to go on where a run stopped."""
    return {
        "id": given.task_id,
        "lease_token": given.token,
        "attempt": given.attempt,
        "type": given.type,
        "data": Stored(given.payload, given.content_type),
        "queue": given.queue,
        "priority": given.priority,
        "timeout": number(given.timeout_ms),
        "meta": dict(given.meta),
        "traceparent": given.traceparent,
        "cancel_requested": given.cancel_requested,
        "progress": None if progress is None else Stored(progress.progress, progress.content_type),
    }
