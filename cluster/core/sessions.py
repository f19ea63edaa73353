"""Workers' sessions: begun, kept by heartbeats, ended by leaving or by silence.

One deadline hangs on the session, not on each lease. Cluster time counts it, which stands still
without a leader, so an outage costs nobody a lease.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.core import leasing, matching, sizes
from cluster.core.commands import (
    BeginTerm,
    Drain,
    Draining,
    Heartbeat,
    Leave,
    Left,
    Offer,
    Offered,
    Refusal,
    Refused,
    Register,
    Registered,
    Renewed,
    Ticked,
)
from cluster.core.model import SLOTS_MAX, Worker, WorkerStatus
from cluster.core.state import State

LOST_REMEMBERED_MS = 3_600_000  # Cluster time for which a lost worker is still listed.
LOST_REMEMBERED_MAX = 1_000


def register(state: State, command: Register) -> Registered | Refused:
    """Begin a session that offers nothing yet."""
    worker = state.space(command.namespace).workers.get(command.worker_id)
    if worker is not None:
        if worker.status is WorkerStatus.LOST:
            return _lost(worker)
        return Registered(worker.id)

    state.newest_number += 1
    worker = Worker(
        id=command.worker_id,
        name=command.name,
        namespace=command.namespace,
        queues=command.queues,
        types=command.types,
        tags=command.tags,
        slots=min(command.slots, SLOTS_MAX),
        node=command.node,
        status=WorkerStatus.ACTIVE,
        started_at_ms=state.now.wall_ms,
        last_heartbeat_ms=state.now.wall_ms,
        deadline_ms=state.now.cluster_ms + state.lease_ms,
        leases={},
        epoch=-1,  # Below every offer's.
        number=state.newest_number,
    )
    space = state.open_space(worker.namespace)
    space.workers[worker.id] = worker
    space.roster.add(worker)
    state.bytes_used += sizes.worker_bytes(worker)
    space.tally.workers_active += 1
    state.sessions[worker.number] = worker
    state.crews.enlist(worker, state.ready)
    state.happened_to_worker("worker_joined", worker)
    return Registered(worker.id)


def offer(state: State, command: Offer) -> Offered | Refused:
    """Take the newest statement of a worker's room and fill it."""
    worker = _session(state, command.namespace, command.worker_id)
    if isinstance(worker, Refused):
        return worker
    if command.epoch < worker.epoch:
        return Offered(())
    if command.epoch > worker.epoch:
        worker.epoch = command.epoch
        worker.epoch_token = state.newest_token
        worker.asked = command.slots
        worker.is_standing = command.is_standing
        state.crews.seat(worker, leasing.room_of(worker))
        matching.match(state)
    return Offered(leasing.held_by(state, worker, above=worker.epoch_token))


def heartbeat(state: State, command: Heartbeat) -> Renewed | Refused:
    """Move the deadline, and settle with the worker which leases it holds."""
    worker = _session(state, command.namespace, command.worker_id)
    if isinstance(worker, Refused):
        return worker
    state.crews.move(worker, command.node, state.ready)
    worker.last_heartbeat_ms = state.now.wall_ms
    worker.deadline_ms = state.now.cluster_ms + state.lease_ms
    state.sessions.move_to_end(worker.number)

    lost = tuple(token for token in command.lease_tokens if token not in worker.leases)
    cancel = _reconcile(state, worker, dict.fromkeys(command.lease_tokens))
    return Renewed(cancel, lost, drain=worker.status is WorkerStatus.DRAINING)


def _reconcile(state: State, worker: Worker, named: Mapping[int, None]) -> tuple[str, ...]:
    """Take back what the worker never got; returns the tasks that it is to cancel.

    A lease younger than a heartbeat may still be on its way.
    """
    tasks = state.spaces[worker.namespace].tasks
    given_before_ms = state.now.cluster_ms - state.heartbeat_ms
    cancel = []
    for token, task_id in list(worker.leases.items()):
        task = tasks[task_id]
        run = task.run
        assert run is not None, "a running task has a run"
        assert run.leased_at_ms is not None, "a running task was leased once"
        if token not in named and run.leased_at_ms <= given_before_ms:
            leasing.give_back(state, task, why="not delivered")
        elif run.cancel_requested:
            cancel.append(task_id)
    return tuple(cancel)


def drain(state: State, command: Drain) -> Draining | Refused:
    """Give the worker nothing more."""
    worker = _session(state, command.namespace, command.worker_id)
    if isinstance(worker, Refused):
        return worker
    if worker.status is WorkerStatus.ACTIVE:
        _retire(state, worker, WorkerStatus.DRAINING)
        state.happened_to_worker("worker_draining", worker)
    return Draining(tuple(worker.leases.values()))


def leave(state: State, command: Leave) -> Left | Refused:
    """End the session now and put its tasks back."""
    worker = _session(state, command.namespace, command.worker_id)
    if isinstance(worker, Refused):
        return worker
    space = state.spaces[worker.namespace]
    if worker.status is WorkerStatus.ACTIVE:
        _retire(state, worker, WorkerStatus.DRAINING)
    state.happened_to_worker("worker_left", worker)
    task_ids = tuple(worker.leases.values())
    for task_id in task_ids:
        leasing.give_back(state, space.tasks[task_id], why="worker left")
    del state.sessions[worker.number]
    del space.workers[worker.id]
    space.roster.remove(worker)
    state.bytes_used -= sizes.worker_bytes(worker)
    return Left(task_ids)


def begin_term(state: State, command: BeginTerm) -> Ticked:
    """Give every session one whole lease from now: its heartbeats had nobody to go to."""
    longest_ms = max(state.lease_ms, command.lease_ms or 0)  # So that deadlines keep their order.
    state.grace_until_ms = max(state.grace_until_ms, state.now.cluster_ms + longest_ms)
    state.lease_ms = command.lease_ms or state.lease_ms
    state.heartbeat_ms = command.heartbeat_ms or state.heartbeat_ms
    state.memory_bytes_max = command.memory_bytes_max or state.memory_bytes_max
    state.happened_to_cluster("leader_changed", node=command.node)
    return Ticked(0)


def deadline_ms(state: State, worker: Worker) -> int:
    """The cluster time at which a session is lost."""
    return max(worker.deadline_ms, state.grace_until_ms)


def lose(state: State, worker: Worker) -> None:
    """End a session that fell silent. Its leases are taken back after it, a few at a time."""
    _retire(state, worker, WorkerStatus.LOST)
    state.happened_to_worker("worker_lost", worker)


def remember(state: State, worker: Worker) -> None:
    """Keep a lost worker, which holds nothing any more, in sight for a while."""
    del state.sessions[worker.number]
    worker.deadline_ms = state.now.cluster_ms + LOST_REMEMBERED_MS
    state.lost[worker.number] = worker
    if len(state.lost) > LOST_REMEMBERED_MAX:
        forget(state, next(iter(state.lost.values())))


def forget(state: State, worker: Worker) -> None:
    """Drop a lost worker out of sight."""
    del state.lost[worker.number]
    space = state.spaces[worker.namespace]
    del space.workers[worker.id]
    space.roster.remove(worker)
    state.bytes_used -= sizes.worker_bytes(worker)


def _retire(state: State, worker: Worker, status: WorkerStatus) -> None:
    """Take an active worker out of its crew; one that drained already only changes its status."""
    if worker.status is WorkerStatus.ACTIVE:
        state.spaces[worker.namespace].tally.workers_active -= 1
        state.crews.dismiss(worker, state.ready)
    worker.status = status


def _session(state: State, namespace: str, worker_id: str) -> Worker | Refused:
    worker = state.space(namespace).workers.get(worker_id)
    if worker is None:
        return Refused(
            Refusal.WORKER_UNKNOWN,
            f"worker {worker_id} is not known: never registered, or gone for long; register it",
        )
    return _lost(worker) if worker.status is WorkerStatus.LOST else worker


def _lost(worker: Worker) -> Refused:
    return Refused(
        Refusal.WORKER_LOST,
        f"worker {worker.id} was lost: its session has ended; register anew, under another id",
    )
