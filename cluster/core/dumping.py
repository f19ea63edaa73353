"""The whole machine as plain sections, whose form `sections.py` describes. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from cluster.core import ring, sizes
from cluster.core.crews import Crew
from cluster.core.machine import Machine
from cluster.core.model import (
    Task,
    Worker,
)
from cluster.core.ready import Lane
from cluster.core.sections import FIELDS, HEADER, OPERATION, SHARED, SNAPSHOT_VERSION, Section

RECORDS_MAX = 256  # Of a section, so that a record's number within it fits into a byte.
BYTES_MAX = 256 * 1024  # Of a section's payloads, but for a single record that has more.


R = TypeVar("R")


def dump(machine: Machine) -> Iterator[Section]:
    """The machine between two entries, section by section. Nothing may change meanwhile."""
    for number, content in enumerate(_contents(machine)):
        yield number, *content


def _contents(machine: Machine) -> Iterator[tuple[Any, ...]]:
    state = machine.state
    yield "header", SNAPSHOT_VERSION, machine.state_hash, *attrgetter(*HEADER)(state)
    for name, space in state.spaces.items():
        tally = space.tally
        yield "space", name, tally.submitted_ever, tally.removed_ever, tally.completed_ever
        for names in _batches(queue.name for queue in space.queues if queue.is_paused):
            yield "paused", *names
        for tasks in _batches(space.listing, _task_bytes):
            yield "tasks", *_tasks_and_runs(tasks)
        for workers in _batches(space.roster, _worker_bytes):
            yield "workers", *_columns(workers)
    yield "ring", *state.ring.dropped, len(state.ring)
    for events in _batches(state.ring, ring.bytes_of):
        yield "events", *events
    suspended = [node.id for node in state.crews.nodes.values() if node.is_suspended]
    for ids in _batches(sorted(suspended)):
        yield "suspended", *ids
    for numbers in _batches(state.sessions):
        yield "sessions", *numbers
    for numbers in _batches(state.lost):
        yield "lost", *numbers
    for operations in _batches(state.operations):
        yield "operations", *map(attrgetter(*OPERATION), operations)
    for keys in _batches(state.keys):
        yield "keys", *keys
    for sources in _batches(state.crews.fresh):
        yield "fresh", *map(_source, sources)
    yield ("end",)


def _batches(
    records: Iterable[R], bytes_of: Callable[[R], int] = lambda _: 0
) -> Iterator[Sequence[R]]:
    batch: list[R] = []
    batch_bytes = 0
    for record in records:
        record_bytes = bytes_of(record)
        if batch and (len(batch) >= RECORDS_MAX or batch_bytes + record_bytes > BYTES_MAX):
            yield batch
            batch = []
            batch_bytes = 0
        batch.append(record)
        batch_bytes += record_bytes
    if batch:
        yield batch


def _task_bytes(task: Task) -> int:
    """What its submitter and its worker may make large."""
    size = len(task.payload)
    if task.extras is not None:
        size += sum([len(key) + len(value) for key, value in task.extras.meta])
    run = task.run
    if run is not None:
        size += len(run.result or b"") + len(run.progress or b"") + len(run.error or "")
        size += sizes.timeline_bytes(run.timeline)
    return size


def _worker_bytes(worker: Worker) -> int:
    return 50 * len(worker.leases)  # About a token and a UUID each.


def _tasks_and_runs(tasks: Sequence[Task]) -> tuple[Any, ...]:
    """The tasks' columns, the places of those that have a run, and the columns of these runs."""
    started = [at for at, task in enumerate(tasks) if task.run is not None]
    runs = [tasks[at].run for at in started]
    return tuple(_columns(tasks)), bytes(started), tuple(_columns(runs)) if runs else ()


def _columns(records: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The fields of the records, each as short as it goes: one value if all have the same."""
    names = FIELDS[type(records[0])]
    rows = map(attrgetter(*names), records)
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        column = values
        if values[0] == values[-1] and values.count(values[0]) == len(values):
            column = values[:1]
        if name == "created":
            column = tuple([moment.plain for moment in column])
        elif name == "kind":
            column = tuple([kind.plain for kind in column])
        if name in SHARED:
            column = _numbered(column)
        elif name == "leases":
            column = tuple([tuple(leases.items()) for leases in column])
        yield column


def _numbered(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], bytes]:
    """Each value once, and which of them each record has."""
    distinct = tuple(dict.fromkeys(values))
    number_of = {value: number for number, value in enumerate(distinct)}
    return distinct, bytes(map(number_of.__getitem__, values))


def _source(source: Lane | Crew) -> tuple[Any, ...] | None:
    """How to find what is fresh again. None: it is gone, and keeps only a match from being over."""
    if isinstance(source, Crew):
        return (source.profile,) if source.members else None
    market = source.market
    return (market.key, source.type) if market.lanes.get(source.type) is source else None
