"""Planted bugs of what is steered: queues, keys, operations, workers that are to get nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

from chaos.simulation.planted import constant, planted, replace, replace_command
from cluster.caretaking import Caretaker
from cluster.core import commands, loading, matching, operating, ready, submitting
from cluster.core.crews import by_seat
from cluster.core.model import Task, TaskStatus, Worker
from cluster.core.operations import Operation, OperationKind
from cluster.core.ready import Lane
from cluster.core.state import State

THEME = "steered"
_REACH = 3  # Tasks, before a purge of these loses interest.


@planted("silent-nodes-served", "the workers of a silent node get nothing new", theme=THEME)
def _silent_nodes_served(stack: ExitStack) -> None:
    def least_loaded(lane: Lane) -> Worker | None:
        workers = [crew.available.first for crew in lane.market.crews if crew.serves(lane.type)]
        return min((worker for worker in workers if worker is not None), key=by_seat, default=None)

    replace(stack, matching, "least_loaded", lambda _original: least_loaded)


@planted("silence-for-ever", "a node that is heard again is served again", theme=THEME)
def _silence_for_ever(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def suspension(self: Caretaker, now: float) -> Any:
            decided = original(self, now)
            return None if isinstance(decided, commands.Resume) else decided

        return suspension

    replace(stack, Caretaker, "_suspension", make)


@planted("paused-queues-served", "a paused queue's tasks are nobody's next", theme=THEME)
def _paused_queues_served(stack: ExitStack) -> None:
    replace(stack, ready.Ready, "set_paused", constant(None))


@planted("draining-workers-served", "a draining worker gets nothing new", theme=THEME)
def _draining_workers_served(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def drain(state: State, command: commands.Drain) -> Any:
            worker = state.space(command.namespace).workers.get(command.worker_id)
            if worker is None:
                return original(state, command)
            return commands.Draining(tuple(worker.leases.values()))

        return drain

    replace_command(stack, commands.Drain, make)


@planted("purge-takes-what-runs", "a purge leaves alone what runs", theme=THEME)
def _purge_takes_what_runs(stack: ExitStack) -> None:
    replace(stack, operating, "_WAITING", lambda waiting: (*waiting, TaskStatus.PROCESSING))


@planted("purge-loses-interest", "an operation goes on until all it means is done", theme=THEME)
def _purge_loses_interest(stack: ExitStack) -> None:
    def make(ways: Any) -> Any:
        purge = ways[OperationKind.PURGE]

        def looks(state: State, operation: Operation) -> Iterator[tuple[int, Task | None]]:
            return purge.looks(state, operation) if operation.done < _REACH else iter(())

        return MappingProxyType({**ways, OperationKind.PURGE: purge._replace(looks=looks)})

    replace(stack, operating, "_WAYS", make)


@planted("keys-not-remembered", "one idempotency key is one task", theme=THEME)
def _keys_not_remembered(stack: ExitStack) -> None:
    replace(stack, submitting, "_remember", constant(None))


@planted("keys-lost-in-snapshots", "a snapshot holds the idempotency keys", theme=THEME)
def _keys_lost_in_snapshots(stack: ExitStack) -> None:
    replace(stack, loading.Loader, "_keys", constant(None))
