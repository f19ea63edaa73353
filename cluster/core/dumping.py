"""The whole machine as plain sections, and a machine from them: what a snapshot holds.

A section is a numbered tuple of what msgpack can carry, with so few records that neither side ever
holds a second copy or takes long over one. Records go column by column, a column a field, in the
order of their type's fields: new fields are appended with a default. What follows from the records
(lanes, crews, timers, the listing, the counts by status) is built again by the code that keeps it
up while the machine runs; the orders of tables and sessions are kept. A market without tasks is
not: whether it stands shows in nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import repeat, starmap
from operator import attrgetter
from types import MappingProxyType
from typing import Any, TypeVar

from cluster.core import leasing, lifecycle, ring, sizes, timelines
from cluster.core.crews import Crew, Node
from cluster.core.idempotency import Remembered
from cluster.core.machine import Machine
from cluster.core.model import (
    Event,
    Extras,
    Kind,
    Moment,
    Position,
    Run,
    Task,
    TaskStatus,
    Worker,
    WorkerStatus,
)
from cluster.core.operations import Operation, OperationKind
from cluster.core.ready import Lane
from cluster.core.state import Space

SNAPSHOT_VERSION = 1  # Raised with every field that is added.
RECORDS_MAX = 256  # Of a section, so that a record's number within it fits into a byte.
BYTES_MAX = 256 * 1024  # Of a section's payloads, but for a single record that has more.

Section = tuple[Any, ...]  # Its number, its kind, and what that kind holds.

R = TypeVar("R")

# What the header holds of the state, after the version and the hash. Append only.
_HEADER = (
    *("now.index", "now.term", "now.cluster_ms", "now.wall_ms"),
    *("lease_ms", "heartbeat_ms", "grace_until_ms"),
    *("newest_number", "newest_place", "newest_token"),
    *("memory_bytes_max", "bytes_used", "bytes_ended", "machine_version"),
)
# What comes by itself or follows from the rest: the last fields of their records.
_FOLLOWS = ("run", "timer", "timeout", "seat")
_FIELDS: Mapping[type, tuple[str, ...]] = MappingProxyType(
    {
        record: tuple(field.name for field in fields(record) if field.name not in _FOLLOWS)
        for record in (Task, Run, Worker)
    }
)
_OPERATION = tuple(field.name for field in fields(Operation))
# Fields of few values: a section holds each value once, and memory does as well.
_SHARED = (
    *("kind", "extras", "created", "status", "worker_id", "node"),
    *("progress_content_type", "result_content_type"),
    *("namespace", "queues", "types", "tags"),
)
_EVENT_STATUSES: Mapping[str | None, TaskStatus | WorkerStatus | None] = MappingProxyType(
    {None: None} | {status.value: status for status in (*TaskStatus, *WorkerStatus)}
)


class UnknownVersion(ValueError):
    """The dump was written by a newer program."""


def dump(machine: Machine) -> Iterator[Section]:
    """The machine between two entries, section by section. Nothing may change meanwhile."""
    for number, content in enumerate(_contents(machine)):
        yield number, *content


def _contents(machine: Machine) -> Iterator[tuple[Any, ...]]:
    state = machine.state
    yield "header", SNAPSHOT_VERSION, machine.state_hash, *attrgetter(*_HEADER)(state)
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
        yield "operations", *map(attrgetter(*_OPERATION), operations)
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
    names = _FIELDS[type(records[0])]
    rows = map(attrgetter(*names), records)
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        column = values
        if values[0] == values[-1] and values.count(values[0]) == len(values):
            column = values[:1]
        if name == "created":
            column = tuple([moment.plain for moment in column])
        if name in _SHARED:
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


class Loader:
    """Builds the machine that was dumped; what it built is of no use before `finish`."""

    def __init__(self) -> None:
        self._machine = Machine()
        self._fed = 0
        self._is_whole = False
        self._space: Space  # The one that is being filled: there is none before the first.
        self._workers: dict[int, Worker] = {}  # Those whose session has not come yet, by number.
        self._fresh: dict[Lane | Crew, None] = {}
        self._newest_moment = Moment(0, 0, 0, 0)
        self._events_there = 0
        self._values: dict[Any, Any] = {}  # Of the shared fields, each once.
        self._read: Mapping[str, Callable[..., None]] = {
            "header": self._header,
            "space": self._begin_space,
            "tasks": self._tasks,
            "workers": self._some_workers,
            "ring": self._ring,
            "events": self._events,
            "suspended": self._suspended,
            "sessions": self._sessions,
            "lost": self._lost,
            "paused": self._paused,
            "operations": self._operations,
            "keys": self._keys,
            "fresh": self._sources,
            "end": self._end,
        }

    def feed(self, section: Section) -> None:
        """Take in the next section: a few milliseconds' work at most.

        Raises:
            UnknownVersion: the dump is of a newer version than this program knows.
            ValueError: it is not the section that comes next, or not what was dumped.
        """
        try:
            self._take_in(*section)
        except UnknownVersion:
            raise
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"section {self._fed} of the dump is damaged: {error!r}") from error
        self._fed += 1

    def finish(self) -> Machine:
        """The machine.

        Raises:
            ValueError: the dump has not come to its end.
        """
        if not self._is_whole:
            raise ValueError(f"the dump breaks off after {self._fed} sections")
        return self._machine

    def _take_in(self, number: int, kind: str, *content: Any) -> None:
        if self._is_whole or number != self._fed or (kind == "header") != (number == 0):
            raise ValueError(f"section {number}, {kind}, does not come next")
        self._read[kind](*content)

    def _header(self, version: int, state_hash: bytes, *values: int) -> None:
        if version > SNAPSHOT_VERSION:
            raise UnknownVersion(
                f"snapshot of version {version}; this program knows up to {SNAPSHOT_VERSION}"
            )
        self._machine.state_hash = state_hash
        state = self._machine.state
        state.now = Moment(*values[:4])
        for name, value in zip(_HEADER[4:], values[4:], strict=True):
            setattr(state, name, value)

    def _begin_space(
        self, name: str, submitted_ever: int, removed_ever: int, completed_ever: int
    ) -> None:
        self._space = self._machine.state.spaces[name] = Space()
        tally = self._space.tally
        tally.submitted_ever = submitted_ever
        tally.removed_ever = removed_ever
        tally.completed_ever = completed_ever

    def _paused(self, *names: str) -> None:
        queues = self._space.queues
        for name in names:
            queues.set_paused(queues.open(name), is_paused=True)

    def _tasks(self, columns: Sequence[Any], started: bytes, run_columns: Sequence[Any]) -> None:
        tasks = list(self._records(Task, columns, count=len(columns[0])))  # Ids all differ.
        runs = self._records(Run, run_columns, count=len(started))
        for at, run in zip(started, runs, strict=True):
            run.timeline = timelines.loaded(run.timeline, self._one)
            tasks[at].run = run
        for task in tasks:
            self._put_in(task)

    def _put_in(self, task: Task) -> None:
        state = self._machine.state
        space = self._space
        space.tasks[task.id] = task
        space.listing.add(task)
        task.kind = state.kinds.hold(task.kind).kind
        task.created.tasks += 1
        space.tally.by_status[task.status] += 1
        queue = space.queues.open(task.kind.queue)
        queue.submitted(task.status)
        lifecycle.set_timer(state, task)
        lifecycle.enter(state, space, queue, task)
        if task.status is TaskStatus.PROCESSING:
            leasing.set_timeout(state, task)

    def _some_workers(self, *columns: Any) -> None:
        state = self._machine.state
        space = self._space
        for worker in self._records(Worker, columns, count=len(columns[0])):
            worker.id = self._one(worker.id)
            worker.leases = self._leases(worker.leases)  # They came as pairs.
            space.workers[worker.id] = self._workers[worker.number] = worker
            space.roster.add(worker)
            if worker.status is WorkerStatus.ACTIVE:
                space.tally.workers_active += 1
                state.crews.enlist(worker, state.ready)
                state.crews.seat(worker, worker.room)

    def _ring(self, index: int, offset: int, count: int) -> None:
        self._machine.state.ring.dropped = Position(index, offset)
        self._events_there = count

    def _events(self, *events: tuple[Any, ...]) -> None:
        self._machine.state.ring.extend([self._event(*map(self._one, each)) for each in events])

    def _event(self, *values: Any) -> Event:
        event = Event(*values)
        return event._replace(status=_EVENT_STATUSES[event.status])

    def _suspended(self, *ids: str) -> None:
        for id_ in ids:
            self._machine.state.crews.nodes[id_].is_suspended = True

    def _sessions(self, *numbers: int) -> None:
        for number in numbers:
            self._machine.state.sessions[number] = self._workers.pop(number)

    def _lost(self, *numbers: int) -> None:
        for number in numbers:
            self._machine.state.lost[number] = self._workers.pop(number)

    def _operations(self, *rows: tuple[Any, ...]) -> None:
        for row in rows:
            operation = Operation(*row)
            operation.kind = OperationKind(operation.kind)
            self._machine.state.operations.add(operation)

    def _keys(self, *rows: tuple[Any, ...]) -> None:
        for row in rows:
            self._machine.state.keys.add(Remembered(*row))

    def _sources(self, *sources: tuple[Any, ...] | None) -> None:
        for source in sources:
            self._fresh[self._found(source)] = None

    def _found(self, source: tuple[Any, ...] | None) -> Lane | Crew:
        state = self._machine.state
        match source:
            case None:
                return Crew(("", (), (), (), ""), Node(""))  # It serves nothing, as what is gone.
            case (profile,):
                return state.crews.by_profile[profile]
            case (key, type_):
                return state.ready.markets[key].lanes[type_]
        raise ValueError(f"{source!r} is nothing that can be fresh")

    def _end(self) -> None:
        state = self._machine.state
        for name, space in state.spaces.items():
            there = space.tally.submitted_ever - space.tally.removed_ever
            if len(space.tasks) != there:
                raise ValueError(f"{there} tasks were in namespace {name}, {len(space.tasks)} came")
        if len(state.ring) != self._events_there:
            raise ValueError(f"{self._events_there} events were kept, {len(state.ring)} came")
        if self._workers:
            raise ValueError(f"{len(self._workers)} workers came without their sessions")
        state.crews.fresh = self._fresh  # In place of all that became so by being loaded.
        self._is_whole = True

    def _records(self, of: type[R], columns: Sequence[Any], *, count: int) -> Iterator[R]:
        """Records from the columns of as many fields as the dump knew; newer ones have defaults."""
        if count == 0:
            return iter(())
        make: dict[str, Callable[[Any], Any]] = {
            "status": WorkerStatus if of is Worker else TaskStatus,
            "kind": self._kind,
            "extras": _extras,
            "created": self._moment,
        }
        names = _FIELDS[of][: len(columns)]
        read: list[Iterable[Any]] = []
        for name, column in zip(names, columns, strict=True):
            values = column
            if name in _SHARED:
                make_one = make.get(name, self._one)
                distinct = [make_one(value) for value in column[0]]
                values = [distinct[number] for number in column[1]]
            read.append(repeat(values[0], count) if len(values) == 1 else values)
        return starmap(of, zip(*read, strict=True))

    def _leases(self, pairs: Any) -> dict[int, str]:
        tasks = self._space.tasks
        return {token: tasks[task_id].id for token, task_id in pairs}

    def _kind(self, values: tuple[Any, ...]) -> Kind:
        kind: Kind = self._one(Kind.of_plain(values))
        return kind

    def _moment(self, values: tuple[int, ...]) -> Moment:
        """The one of a whole entry: its tasks stand side by side."""
        now = self._machine.state.now
        if now.plain == values:
            return now
        if self._newest_moment.plain != values:
            self._newest_moment = Moment(*values)
        return self._newest_moment

    def _one(self, value: Any) -> Any:
        """The one of all equal values that is kept."""
        return self._values.setdefault(value, value)


def _extras(values: tuple[Any, ...] | None) -> Extras | None:
    return None if values is None else Extras(*values)
