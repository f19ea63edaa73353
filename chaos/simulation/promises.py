"""What was promised of queues, keys and workers: kept beside the log as it is replayed.

Each rule has a memory of its own, fed by what the machine answered: what it said of a queue, a key
or a worker in one entry must show in all later ones. Within an entry a rule looks away, for the
order there is the machine's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster.core.commands import (
    Command,
    Drain,
    Draining,
    Heartbeat,
    Refusal,
    Refused,
    Register,
    Resume,
    Submit,
    Submitted,
)
from cluster.core.machine import Machine
from cluster.core.model import DEFAULT_NAMESPACE, Event, TaskStatus, Worker
from cluster.core.queue_commands import (
    PurgeQueue,
    Removed,
    RetryDead,
    Started,
    Steered,
)

Finding = tuple[str, str]  # The rule, and what broke it.
Answered = Sequence[tuple[Command[Any], Any]]  # An entry's commands, each with its reply.

WAITING = (
    *(TaskStatus.SCHEDULED, TaskStatus.BLOCKED),
    *(TaskStatus.PENDING, TaskStatus.RETRYING),
)
_NO_MOVES = ("ready", "progress", "cancel_requested")  # A task does not leave its part by them.


class _Known(NamedTuple):
    """A key's first submission."""

    body: bytes
    task_id: str


class _Entry(NamedTuple):
    """What an entry itself says of those that were passed over before it."""

    resumed: set[str]  # Queues.
    heard: set[str]  # Workers that showed themselves, maybe on another node.
    back: set[str]  # Nodes.
    removed: set[str]  # Dead letters that were named.

    @classmethod
    def of(cls, answered: Answered) -> _Entry:
        """What these commands and their replies say."""
        return cls(
            {reply.queue for _, reply in answered if isinstance(reply, Steered)},
            {each.worker_id for each, _ in answered if isinstance(each, Heartbeat | Register)},
            {each.node for each, _ in answered if isinstance(each, Resume)},
            {reply.task_id for _, reply in answered if isinstance(reply, Removed)},
        )


class _Begun(NamedTuple):
    """An operation that is not finished."""

    command: PurgeQueue | RetryDead
    began: int  # The index of its entry.

    def means(self, status: str | None, queue: str | None) -> bool:
        """Whether it is about tasks of that *status* in that *queue*."""
        if self.command.queue not in (None, queue):
            return False
        if isinstance(self.command, PurgeQueue):
            return status in WAITING
        return status == TaskStatus.FAILED


@dataclass(slots=True)
class _Place:
    """Where a task was last seen."""

    submitted: int  # The indexes of entries.
    moved: int
    status: str | None


class Promises:
    """All that must show in what comes."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine  # Which the caller applies the log to.
        self._paused: set[str] = set()
        self._drained: set[str] = set()
        self._silent: dict[str, str] = {}  # Workers of suspended nodes, and the node.
        self._keys: dict[str, _Known] = {}
        self._begun: dict[str, _Begun] = {}
        self._places: dict[str, _Place] = {}

    def before(self) -> None:
        """Note what holds before the next entry."""
        nodes = {node for node, is_suspended in self._machine.worker_nodes.items() if is_suspended}
        self._silent = {
            worker.id: worker.node for worker in (self._workers() if nodes else ())
            if worker.node in nodes
        }  # fmt: skip

    def after(self, index: int, answered: Answered, events: Sequence[Event]) -> Iterator[Finding]:
        """What the entry at *index* did that it should not have."""
        for command, reply in answered:
            if isinstance(reply, Started) and isinstance(command, PurgeQueue | RetryDead):
                if not reply.is_duplicate:
                    self._begun[command.operation_id] = _Begun(command, index)
            elif isinstance(command, Submit):
                yield from self._submitted(command, reply)
        entry = _Entry.of(answered)
        for event in events:
            yield from self._happened(event, entry)
            self._move(index, event)
        yield from self._finished(index)
        for command, reply in answered:
            if isinstance(reply, Steered):
                (self._paused.add if reply.is_paused else self._paused.discard)(reply.queue)
            elif isinstance(reply, Draining) and isinstance(command, Drain):
                self._drained.add(command.worker_id)

    # Keys.

    def _submitted(self, command: Submit, reply: Submitted | Refused) -> Iterator[Finding]:
        """One key stands for one body and one task."""
        if isinstance(reply, Refused):
            if reply.refusal is Refusal.IDEMPOTENCY_CONFLICT and not self._is_conflict(command):
                yield "one key, one task", f"{reply.detail}, but no key of these did"
            return
        for task, answer in zip(command.tasks, reply.tasks, strict=True):
            if task.idempotency is None:
                continue
            key, body = task.idempotency
            known = self._keys.setdefault(key, _Known(body, answer.task_id))
            if known != (body, answer.task_id):
                yield (
                    "one key, one task",
                    f"{key!r} was {known}, now {answer.task_id} of {body!r}",
                )

    def _is_conflict(self, command: Submit) -> bool:
        bodies: dict[str, bytes] = {key: known.body for key, known in self._keys.items()}
        keyed = [task.idempotency for task in command.tasks if task.idempotency is not None]
        return any(bodies.setdefault(key, body) != body for key, body in keyed)

    # Leases and removals.

    def _happened(self, event: Event, entry: _Entry) -> Iterator[Finding]:
        if event.kind == "leased":
            yield from self._leased(event, entry)
        elif (
            event.kind == "removed"
            and event.error is None
            and not self._may_be_removed(event, is_named=event.task_id in entry.removed)
        ):
            where = self._places.get(event.task_id or "")
            yield "only what was meant is removed", f"{event.task_id}, {where}"

    def _leased(self, event: Event, entry: _Entry) -> Iterator[Finding]:
        worker = event.worker_id or ""
        if event.queue in self._paused - entry.resumed:
            yield "a paused queue's tasks wait", f"{event.task_id} went to {worker}"
        if worker in self._drained:
            yield "a draining worker gets nothing new", f"{worker} got {event.task_id}"
        node = self._silent.get(worker)
        if node is not None and node not in entry.back and worker not in entry.heard:
            yield (
                "a silent node's workers get nothing new",
                f"{worker} on {node} got {event.task_id}",
            )

    def _may_be_removed(self, event: Event, *, is_named: bool) -> bool:
        """Whether a dead letter that was named, or what a purge of its queue means."""
        place = self._places.get(event.task_id or "")
        if place is None:
            return False
        if is_named and place.status == TaskStatus.FAILED:
            return True
        return any(
            isinstance(begun.command, PurgeQueue)
            and begun.means(place.status, event.queue)
            and place.submitted <= begun.began
            for begun in self._begun.values()
        )

    def _move(self, index: int, event: Event) -> None:
        if event.task_id is None:
            return
        if event.kind == "removed":
            self._places.pop(event.task_id, None)
        elif event.kind == "submitted":
            self._places[event.task_id] = _Place(index, index, event.status)
        elif event.task_id in self._places:
            place = self._places[event.task_id]
            is_put_back = place.status not in WAITING and event.status in WAITING
            place.status = event.status
            if is_put_back or event.kind not in _NO_MOVES:
                place.moved = index

    # Operations.

    def _finished(self, index: int) -> Iterator[Finding]:
        """What was there when an operation began and has not moved since is done with then."""
        operations = self._machine.state.operations
        for id_, begun in list(self._begun.items()):
            known = operations.find(DEFAULT_NAMESPACE, id_)
            if known is not None and known.finished_ms is None:
                continue
            del self._begun[id_]
            for task_id, place in self._places.items():
                task = self._machine.state.task(DEFAULT_NAMESPACE, task_id)
                queue = None if task is None else task.kind.queue
                if place.moved < begun.began and begun.means(place.status, queue):
                    yield (
                        "an operation reaches all that it means",
                        f"{begun.command.op} {id_} ended at {index}, {task_id} is {place.status}",
                    )

    def _workers(self) -> Iterator[Worker]:
        for space in self._machine.state.spaces.values():
            yield from space.workers.values()
