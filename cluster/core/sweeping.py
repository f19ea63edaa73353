"""What becomes due by itself: timeouts, silent workers, starts, retries, expiries, removals.

Bounded: an entry does at most `UNITS_MAX` such things, and what is left stays due, so that the next
one goes on. Each rule below does one thing, or says that none is due.
"""

from __future__ import annotations

from collections.abc import Callable

from cluster.core import leasing, lifecycle, matching, operating, retrying, room, sessions, sizes
from cluster.core.model import WorkerStatus, due_ms
from cluster.core.state import State, by_timeout, by_timer

UNITS_MAX = 1_000

_Rule = Callable[[State], bool]  # Does one thing that is due, or says that none is.


def sweep(state: State) -> int:
    """Do what is due, as far as the entry allows, and return how many things that were."""
    before = state.units_left
    _follow(state, _RULES_BEFORE, before)
    if state.operations.open:  # They and what follows have a half each, and what is over.
        _follow(state, (operating.advance,), (state.units_left + 1) // 2)
    _follow(state, _RULES_AFTER, state.units_left)
    if state.operations.open:
        _follow(state, (operating.advance,), state.units_left)
    matching.match(state)
    return before - state.units_left


def _follow(state: State, rules: tuple[_Rule, ...], units_max: int) -> None:
    """Follow each rule until nothing more is due by it, all together *units_max* times at most."""
    left = state.units_left - units_max
    for rule in rules:
        while state.units_left > left and rule(state):
            state.units_left -= 1


def next_cluster_ms(state: State) -> int | None:
    """The cluster time at which something is due next."""
    moments = []
    if state.crews.fresh:
        moments.append(state.now.cluster_ms)  # A match was too much for one entry.
    if room.next_evicted(state) is not None:
        moments.append(state.now.cluster_ms)
    if state.operations.next_open() is not None:
        moments.append(state.now.cluster_ms)
    forget_ms = state.operations.forget_ms()
    if forget_ms is not None:
        moments.append(forget_ms)
    if state.sessions:
        worker = next(iter(state.sessions.values()))
        is_lost = worker.status is WorkerStatus.LOST  # And its leases are still to be taken back.
        moments.append(state.now.cluster_ms if is_lost else sessions.deadline_ms(state, worker))
    if state.lost:
        moments.append(next(iter(state.lost.values())).deadline_ms)
    first = state.timeouts.first
    if first is not None:
        moments.append(due_ms(by_timeout(first)))
    return min(moments, default=None)


def next_wall_ms(state: State) -> int | None:
    """The wall time at which something is due next."""
    task = state.timers.first
    timer_ms = None if task is None else due_ms(by_timer(task))
    moments = [ms for ms in (timer_ms, state.keys.next_ms()) if ms is not None]
    return min(moments, default=None)


def _time_out(state: State) -> bool:
    """End a run that took too long. The worker learns it as a lost lease."""
    task = state.timeouts.first
    if task is None or due_ms(by_timeout(task)) > state.now.cluster_ms:
        return False
    worker = leasing.take_back(state, task)
    retrying.fail_attempt(state, task, "timeout", may_retry=True, worker_id=worker.id)
    return True


def _lose(state: State) -> bool:
    """Take one step in losing a silent worker: the session, then each lease, then the rest."""
    worker = next(iter(state.sessions.values()), None)
    if worker is None:
        return False
    if worker.status is not WorkerStatus.LOST:
        if sessions.deadline_ms(state, worker) > state.now.cluster_ms:
            return False
        sessions.lose(state, worker)
        return True

    task_id = next(iter(worker.leases.values()), None)
    if task_id is None:
        sessions.remember(state, worker)
    else:
        retrying.lose_delivery(state, state.spaces[worker.namespace].tasks[task_id])
    return True


def _forget(state: State) -> bool:
    """Drop a worker that was lost long ago."""
    worker = next(iter(state.lost.values()), None)
    if worker is None or worker.deadline_ms > state.now.cluster_ms:
        return False
    sessions.forget(state, worker)
    return True


def _evict(state: State) -> bool:
    """Remove a task that has ended, because all together take too much."""
    task = room.next_evicted(state)
    if task is None:
        return False
    lifecycle.remove(state, task, why="evicted")
    return True


def _forget_operation(state: State) -> bool:
    """Forget an operation that finished long ago."""
    return state.operations.forget_due(state.now.cluster_ms)


def _forget_key(state: State) -> bool:
    """Forget an idempotency key that was remembered for a day."""
    if state.keys.forget_due(state.now.wall_ms) is None:
        return False
    state.bytes_used -= sizes.KEY_BYTES
    return True


def _ring(state: State) -> bool:
    """Do what one task's timer was set for."""
    task = state.timers.first
    if task is None or due_ms(by_timer(task)) > state.now.wall_ms:
        return False
    if task.status.is_final:
        lifecycle.remove(state, task)
    elif lifecycle.is_expired(state, task):
        lifecycle.expire(state, task)
    else:
        lifecycle.make_ready(state, task)
    return True


_RULES_BEFORE: tuple[_Rule, ...] = (_time_out, _lose, _forget, _evict)
_RULES_AFTER: tuple[_Rule, ...] = (_ring, _forget_operation, _forget_key)
