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

from cluster.core.crews import Crew
from cluster.core.machine import Machine
from cluster.core.model import Backoff, Policy, Task, TaskStatus, Worker, WorkerStatus
from cluster.core.ready import Lane
from cluster.core.state import Space

SNAPSHOT_VERSION = 1  # Raised with every field that is added.
RECORDS_MAX = 256  # Of a section, so that a record's number within it fits into a byte.
BYTES_MAX = 256 * 1024  # Of a section's payloads, but for a single record that has more.

Section = tuple[Any, ...]  # Its number, its kind, and what that kind holds.

R = TypeVar("R")

# What the header holds of the state, after the version and the hash. Append only.
_HEADER = (
    *("index", "term", "cluster_time_ms", "wall_time_ms"),
    *("lease_ms", "heartbeat_ms", "grace_until_ms"),
    *("newest_number", "newest_place", "newest_token", "memory_bytes_max"),
)
_FIELDS: Mapping[type, tuple[str, ...]] = MappingProxyType(
    {record: tuple(field.name for field in fields(record)) for record in (Task, Worker)}
)
# Fields of few values: a section holds each value once, and memory does as well.
_SHARED = (
    *("type", "content_type", "namespace", "queue", "policy", "requires", "submitted_by"),
    *("status", "worker_id", "queues", "types", "tags", "node"),
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
        for tasks in _batches(space.tasks.values(), _task_bytes):
            yield "tasks", *_columns(tasks)
        for workers in _batches(space.workers.values(), _worker_bytes):
            yield "workers", *_columns(workers)
    for numbers in _batches(state.sessions):
        yield "sessions", *numbers
    for numbers in _batches(state.lost):
        yield "lost", *numbers
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
    if task.result is not None:
        size += len(task.result)
    if task.progress is not None:
        size += len(task.progress)
    if task.error is not None:
        size += len(task.error)
    for key, value in task.meta:
        size += len(key) + len(value)
    return size


def _worker_bytes(worker: Worker) -> int:
    return 50 * len(worker.leases)  # About a token and a UUID each.


def _columns(records: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The fields of the records, each as short as it goes: one value if all have the same."""
    names = _FIELDS[type(records[0])]
    rows = map(attrgetter(*names), records)
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        column = values
        if values[0] == values[-1] and values.count(values[0]) == len(values):
            column = values[:1]
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
        self._values: dict[Any, Any] = {}  # Of the shared fields, each once.
        self._read: Mapping[str, Callable[..., None]] = {
            "header": self._header,
            "space": self._begin_space,
            "tasks": self._tasks,
            "workers": self._some_workers,
            "sessions": self._sessions,
            "lost": self._lost,
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
        for name, value in zip(_HEADER, values, strict=True):
            setattr(self._machine.state, name, value)

    def _begin_space(
        self, name: str, submitted_ever: int, removed_ever: int, completed_ever: int
    ) -> None:
        self._space = self._machine.state.spaces[name] = Space()
        tally = self._space.tally
        tally.submitted_ever = submitted_ever
        tally.removed_ever = removed_ever
        tally.completed_ever = completed_ever

    def _tasks(self, *columns: Any) -> None:
        state = self._machine.state
        space = self._space
        for task in self._records(Task, columns, status=TaskStatus):
            space.tasks[task.id] = task
            space.listing.add((task.number, task))
            space.tally.by_status[task.status] += 1
            if task.due_ms is not None:
                state.timers.add((task.due_ms, task.number, task))
            if task.status is TaskStatus.PENDING:
                state.crews.wait(task, state.ready)
            elif task.status is TaskStatus.PROCESSING and task.policy.timeout_ms is not None:
                assert task.leased_at_ms is not None, "a running task was leased once"
                state.timeouts.add((task.leased_at_ms + task.policy.timeout_ms, task.number, task))

    def _some_workers(self, *columns: Any) -> None:
        state = self._machine.state
        space = self._space
        for worker in self._records(Worker, columns, status=WorkerStatus):
            worker.id = self._one(worker.id)
            worker.leases = self._leases(worker.leases)  # They came as pairs.
            space.workers[worker.id] = self._workers[worker.number] = worker
            if worker.status is WorkerStatus.ACTIVE:
                space.tally.workers_active += 1
                state.crews.enlist(worker, state.ready)
                state.crews.seat(worker, worker.room)

    def _sessions(self, *numbers: int) -> None:
        for number in numbers:
            self._machine.state.sessions[number] = self._workers.pop(number)

    def _lost(self, *numbers: int) -> None:
        for number in numbers:
            self._machine.state.lost[number] = self._workers.pop(number)

    def _sources(self, *sources: tuple[Any, ...] | None) -> None:
        for source in sources:
            self._fresh[self._found(source)] = None

    def _found(self, source: tuple[Any, ...] | None) -> Lane | Crew:
        state = self._machine.state
        match source:
            case None:
                return Crew(("", (), (), ()))  # It serves nothing, as what is gone.
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
        if self._workers:
            raise ValueError(f"{len(self._workers)} workers came without their sessions")
        state.crews.fresh = self._fresh  # In place of all that became so by being loaded.
        self._is_whole = True

    def _records(
        self, of: type[R], columns: Sequence[Any], *, status: Callable[[Any], Any]
    ) -> Iterator[R]:
        """Records from the columns of as many fields as the dump knew; newer ones have defaults."""
        names = _FIELDS[of][: len(columns)]
        count = len(columns[0])  # Of the ids, which all differ.
        make: dict[str, Callable[[Any], Any]] = {"status": status, "policy": self._policy}
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

    def _policy(self, values: tuple[Any, ...]) -> Policy:
        max_attempts, backoff, *rest = values
        policy: Policy = self._one(Policy(max_attempts, Backoff(*backoff), *rest))
        return policy

    def _one(self, value: Any) -> Any:
        """The one of all equal values that is kept."""
        return self._values.setdefault(value, value)
