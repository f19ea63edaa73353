"""What each record takes in a process, by a formula of its sizes: the same on every node.

Nothing is looked up in the process itself, which differs between nodes. The constants were measured
with CPython 3.11 on 64-bit Linux (`benchmarks/accounting.py`); they hold what a record's own fields
and its entries in tables and orders take, so whoever adds to a record measures them again.
"""

from __future__ import annotations

from cluster.core import timelines
from cluster.core.model import FINAL, Extras, Kind, NewTask, Run, Task, Worker

BLOB_BYTES = 40  # Of bytes, beyond their length; rounding included.
TEXT_BYTES = 56  # Of a string, beyond its characters.
PAIR_BYTES = 64  # Of a pair, and of its place in a tuple.

TASK_BYTES = 337
TIMER_BYTES = 100  # What a task takes more that waits for a moment, or no longer than until one.
RUN_BYTES = 230
ENDED_BYTES = 100  # What a task takes more that has ended: the moment at which it is removed.
ENTRY_BYTES = 100  # Of a transition in its timeline.
EXTRAS_BYTES = 140
MOMENT_BYTES = 187  # Of an entry, as long as one of its tasks is kept.
KIND_BYTES = 1_500  # With the lane, the market and the counts that come with it.
WORKER_BYTES = 1_000
KEY_BYTES = 500  # An idempotency key.
LEASE_BYTES = 65  # In its worker; the task's side is its run's.

_PLAIN_BYTES = TASK_BYTES + BLOB_BYTES  # Of a task without all else, but for its payload's length.


def blob_bytes(blob: bytes | None) -> int:
    """Of a payload, a result, a progress report."""
    return 0 if blob is None else BLOB_BYTES + len(blob)


def text_bytes(text: str | None) -> int:
    """Of a string. One character beyond ASCII may widen all, and its UTF-8 is kept as well."""
    if text is None:
        return 0
    return TEXT_BYTES + (len(text) if text.isascii() else 8 * len(text))


def task_bytes(task: Task) -> int:
    """Of a task with all that is its own; its kind and its moment are shared with others."""
    size = _PLAIN_BYTES + len(task.payload)
    if task.run_at_ms is not None or task.expires_at_ms is not None:
        size += TIMER_BYTES
    if task.extras is not None:
        size += extras_bytes(task.extras)
    if task.run is None:
        return size
    if task.status in FINAL:
        size += ENDED_BYTES
    return size + run_bytes(task.run)


def new_task_bytes(new: NewTask) -> int:
    """Of a task that is to be taken in."""
    _, payload, kind, delay_ms, run_at_ms, extras, _ = new
    size = _PLAIN_BYTES + len(payload)
    if delay_ms > 0 or run_at_ms is not None or kind.policy.ttl_ms is not None:
        size += TIMER_BYTES
    return size if extras is None else size + extras_bytes(extras)


def extras_bytes(extras: Extras) -> int:
    """Of what few tasks have."""
    size = EXTRAS_BYTES + text_bytes(extras.traceparent) + text_bytes(extras.submitted_by)
    for name, value in extras.meta:
        size += PAIR_BYTES + text_bytes(name) + text_bytes(value)
    return size


def run_bytes(run: Run) -> int:
    """Of what is known of a task's runs."""
    size = RUN_BYTES + timeline_bytes(run.timeline)
    if run.result is not None:
        size += BLOB_BYTES + len(run.result)
    if run.progress is not None:
        size += blob_bytes(run.progress)
    return size if run.error is None else size + text_bytes(run.error)


def timeline_bytes(timeline: timelines.Packed) -> int:
    """Of a task's later transitions, with the errors that they tell."""
    errors = timeline[timelines.ERRORS]
    size = ENTRY_BYTES * len(errors)
    if errors.count(None) == len(errors):
        return size
    return size + sum(map(text_bytes, errors))


def kind_bytes(kind: Kind) -> int:
    """Of a kind, however many tasks have it."""
    words = (kind.type, kind.content_type, kind.queue, kind.namespace, *kind.requires)
    return KIND_BYTES + sum(map(text_bytes, words))


def worker_bytes(worker: Worker) -> int:
    """Of a worker's session with its leases."""
    words = (worker.id, worker.name, *worker.queues, *worker.types, *worker.tags)
    return WORKER_BYTES + sum(map(text_bytes, words)) + LEASE_BYTES * len(worker.leases)
