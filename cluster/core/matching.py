"""Who runs what: pending tasks and workers with room, in the command that made both available.

Between two commands no task waits that a worker with room serves. So `match` looks only at what
the command made available (`Crews.fresh`), and never at a task that nobody there serves.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

from cluster.core import leasing, lifecycle
from cluster.core.crews import Seat
from cluster.core.model import Worker
from cluster.core.ready import Lane
from cluster.core.state import State

EXPIRED_MAX = 1_000  # Tasks that one match may find too late; the rest waits for the next command.


def match(state: State) -> None:
    """Lease, best task first, until no task waits that a worker with room serves.

    The best task has the highest priority and then the earliest place; of the workers that serve
    it the least loaded takes it.
    """
    fresh = state.crews.fresh
    if not fresh:
        return
    sources = list(fresh)
    heads = [source.best() for source in sources]
    ranks = [(head[0], head[1], at) for at, head in enumerate(heads) if head is not None]
    heapify(ranks)
    expired = 0
    while ranks:
        rank, place, at = ranks[0]
        head = sources[at].best()
        if head is None:
            heappop(ranks)
            continue
        if (head[0], head[1]) != (rank, place):
            heapreplace(ranks, (head[0], head[1], at))
            continue
        worker = least_loaded(head[2])
        if worker is None:
            heappop(ranks)
            continue
        first = head[2].tasks.first()
        assert first is not None, "a lane with a head has a task"
        task = first[2]
        if not lifecycle.is_expired(state, task):
            leasing.grant(state, task, worker)
            continue
        if expired == EXPIRED_MAX:
            return  # What is fresh stays fresh, and the expired tasks' timers are due.
        lifecycle.expire(state, task)
        expired += 1
    fresh.clear()


def least_loaded(lane: Lane) -> Worker | None:
    """The worker that takes the lane's next task, if one has room."""
    best: Seat | None = None
    for crew in lane.market.crews:
        seat = crew.available.first()
        if seat is not None and (best is None or seat < best) and crew.serves(lane.type):
            best = seat
    return None if best is None else best[3]
