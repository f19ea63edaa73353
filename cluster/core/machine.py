"""The machine: commands in, replies and events out; the same log gives the same state, to the byte.

It reads no clock and does no I/O. Whoever drives it does, for every entry of the log in order:

    entry = codec.unpack_entry(raw)
    commands = [command for group in entry.groups for command in group.commands]
    applied = machine.apply_entry(
        commands,
        index=index,
        term=term,
        cluster_time_ms=entry.cluster_time_ms,
        wall_time_ms=entry.wall_time_ms,
    )
    machine.seal(raw, codec.pack_outcome(applied.replies, applied.events))

and proposes a `Tick` when `next_deadline` has come. A command validates, then changes the state: a
refusal is a reply, and what raises is a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from cluster.core import (
    commands,
    histories,
    matching,
    operating,
    pausing,
    queries,
    queue_commands,
    queue_queries,
    queue_views,
    sessions,
    settling,
    steering,
    submitting,
    suspending,
    sweeping,
    versions,
    views,
)
from cluster.core.accounting import UNBOUNDED_BYTES
from cluster.core.commands import Command, Tick, Ticked
from cluster.core.letting_go import let_go
from cluster.core.model import Event, Moment
from cluster.core.queries import Query
from cluster.core.state import State

A = TypeVar("A")

HASH_BYTES = 16


class Applied(NamedTuple):
    """What an entry did: a reply to each command, in order, and every transition."""

    replies: tuple[Any, ...]
    events: tuple[Event, ...]


class Deadline(NamedTuple):
    """When a `Tick` is next of use, by each clock; in the past when work was left undone."""

    cluster_ms: int | None
    wall_ms: int | None


class Machine:
    """The task queue and the worker registry."""

    def __init__(self, *, lease_ms: int = 15_000, heartbeat_ms: int = 5_000) -> None:
        """Begin empty. Until a `BeginTerm` sets the lengths, give each node the same."""
        self.state = State(lease_ms=lease_ms, heartbeat_ms=heartbeat_ms)
        self.state_hash = bytes(HASH_BYTES)

    @property
    def applied_index(self) -> int:
        """The log index of the newest entry applied; 0 before the first."""
        return self.state.now.index

    @property
    def applied_term(self) -> int:
        """That entry's term."""
        return self.state.now.term

    @property
    def version(self) -> int:
        """The version of the rules in force."""
        return self.state.machine_version

    @property
    def bytes_used(self) -> int:
        """What the state takes, as it counts itself: the same on every node."""
        return self.state.bytes_used

    @property
    def memory_bytes_max(self) -> int | None:
        """What it may take; None as long as no leader has said."""
        bound = self.state.memory_bytes_max
        return None if bound == UNBOUNDED_BYTES else bound

    @property
    def worker_nodes(self) -> Mapping[str, bool]:
        """The nodes that active workers are connected to, and whether each is suspended."""
        return {node.id: node.is_suspended for node in self.state.crews.nodes.values()}

    @property
    def cluster_time_ms(self) -> int:
        """The newest cluster time seen."""
        return self.state.now.cluster_ms

    @property
    def wall_time_ms(self) -> int:
        """The newest wall time seen."""
        return self.state.now.wall_ms

    def apply_entry(
        self,
        commands: Sequence[Command[Any]],
        *,
        index: int,
        term: int,
        cluster_time_ms: int,
        wall_time_ms: int,
    ) -> Applied:
        """Apply an entry's commands at its times, then what has become due by them.

        Neither clock goes backward: an earlier time counts as the newest one seen.
        """
        state = self.state
        before = state.now
        state.now = Moment(
            index,
            term,
            max(before.cluster_ms, cluster_time_ms),
            max(before.wall_ms, wall_time_ms),
        )
        state.events = []
        state.units_left = sweeping.UNITS_MAX
        replies = []
        fresh = state.crews.fresh
        for command in commands:
            replies.append(_COMMANDS[type(command)](state, command))
            if fresh:
                matching.match(state)
        sweeping.sweep(state)
        state.ring.extend(state.events)
        return Applied(tuple(replies), tuple(state.events))

    def answer(self, query: Query[A]) -> A:
        """Answer *query* from the state as it is. It changes nothing."""
        answer: A = _QUERIES[type(query)](self.state, query)
        return answer

    def next_deadline(self) -> Deadline:
        """When something becomes due by itself."""
        return Deadline(sweeping.next_cluster_ms(self.state), sweeping.next_wall_ms(self.state))

    def become(self, other: Machine) -> Iterator[None]:
        """Go on from *other*'s state and hash, which are no longer its own.

        Returns:
            What lets go of the state there was, a few milliseconds' work a step.
        """
        before = self.state
        self.state = other.state
        self.state_hash = other.state_hash
        return let_go(before)

    def seal(self, raw: bytes, outcome: bytes) -> None:
        """Chain an entry's bytes, and those of what it did, into `state_hash`."""
        running = blake2b(self.state_hash, digest_size=HASH_BYTES)
        running.update(len(raw).to_bytes(8))  # So that the border between the two counts.
        running.update(raw)
        running.update(outcome)
        self.state_hash = running.digest()


def _tick(state: State, _command: Tick) -> Ticked:
    return Ticked(sweeping.sweep(state))


_COMMANDS: Mapping[type[Command[Any]], Callable[[State, Any], Any]] = MappingProxyType(
    {
        commands.Submit: submitting.submit,
        commands.Register: sessions.register,
        commands.Offer: sessions.offer,
        commands.Heartbeat: sessions.heartbeat,
        commands.Drain: sessions.drain,
        commands.Leave: sessions.leave,
        commands.Complete: settling.complete,
        commands.Fail: settling.fail,
        commands.Release: settling.release,
        commands.Report: settling.report,
        commands.Cancel: steering.cancel,
        commands.Retry: steering.retry,
        commands.BeginTerm: sessions.begin_term,
        queue_commands.PauseQueue: pausing.pause,
        queue_commands.ResumeQueue: pausing.resume,
        queue_commands.PurgeQueue: operating.purge_queue,
        queue_commands.RetryDead: operating.retry_dead,
        queue_commands.RemoveDead: steering.remove_dead,
        commands.Tick: _tick,
        commands.Suspend: suspending.suspend,
        commands.Resume: suspending.resume,
        commands.RaiseVersion: versions.raise_version,
    }
)

_QUERIES: Mapping[type[Query[Any]], Callable[[State, Any], Any]] = MappingProxyType(
    {
        queries.GetTask: views.get_task,
        queries.ListTasks: views.list_tasks,
        queries.GetWorker: views.get_worker,
        queries.ListWorkers: views.list_workers,
        queries.WorkerLeases: views.worker_leases,
        queries.WorkerProgress: views.worker_progress,
        queries.Count: views.count,
        queries.Timeline: histories.timeline,
        queries.Span: histories.span,
        queries.EventsAfter: histories.events_after,
        queue_queries.GetQueue: queue_views.get_queue,
        queue_queries.ListQueues: queue_views.list_queues,
        queue_queries.ListDead: queue_views.list_dead,
        queue_queries.GetOperation: queue_views.get_operation,
    }
)
