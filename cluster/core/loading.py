"""A machine from the sections that `dumping.py` made of one, a few milliseconds' work each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat, starmap
from types import MappingProxyType
from typing import Any, TypeVar

from cluster.core import leasing, lifecycle, timelines
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
    SharedKind,
    Task,
    TaskStatus,
    Worker,
    WorkerStatus,
)
from cluster.core.operations import Operation, OperationKind
from cluster.core.ready import Lane
from cluster.core.sections import FIELDS, HEADER, SHARED, SNAPSHOT_VERSION, Section
from cluster.core.state import Space

R = TypeVar("R")

_EVENT_STATUSES: Mapping[str | None, TaskStatus | WorkerStatus | None] = MappingProxyType(
    {None: None} | {status.value: status for status in (*TaskStatus, *WorkerStatus)}
)


class UnknownVersion(ValueError):
    """The dump was written by a newer program."""


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
        for name, value in zip(HEADER[4:], values[4:], strict=True):
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
        self._space.listing.extend(tasks)
        for task in tasks:
            self._put_in(task)

    def _put_in(self, task: Task) -> None:
        state = self._machine.state
        space = self._space
        space.tasks[task.id] = task
        task.kind.tasks += 1
        task.created.tasks += 1
        space.tally.by_status[task.status] += 1
        home = task.kind.home
        home.size += 1
        home.by_status[task.status] += 1
        lifecycle.set_timer(state, task)
        lifecycle.enter(state, task)
        timeout_ms = task.kind.policy.timeout_ms
        if task.status is TaskStatus.PROCESSING and timeout_ms is not None:
            leasing.set_timeout(state, task, timeout_ms)

    def _some_workers(self, *columns: Any) -> None:
        state = self._machine.state
        space = self._space
        for worker in self._records(Worker, columns, count=len(columns[0])):
            worker.id = self._one(worker.id)
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
        for id_, namespace, kind, *rest in rows:
            operation = Operation(id_, namespace, OperationKind(kind), *rest)
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
        names = FIELDS[of][: len(columns)]
        read: list[Iterable[Any]] = []
        for name, column in zip(names, columns, strict=True):
            values = column
            if name in SHARED:
                make_one = make.get(name, self._one)
                distinct = [make_one(value) for value in column[0]]
                values = [distinct[number] for number in column[1]]
            if len(values) == 1:
                values = repeat(values[0], count)
            read.append(map(self._leases, values) if name == "leases" else values)
        return starmap(of, zip(*read, strict=True))

    def _leases(self, pairs: Any) -> dict[int, str]:
        """A worker's leases, which come as pairs after the tasks that they are of."""
        tasks = self._space.tasks
        return {token: tasks[task_id].id for token, task_id in pairs}

    def _kind(self, values: tuple[Any, ...]) -> SharedKind:
        state = self._machine.state
        plain = Kind.of_plain(values)
        return state.kinds.find(plain) or state.open_kind(plain)

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
