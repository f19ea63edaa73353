"""Who runs what: pending tasks and workers with room, in the command that made both available.

Between two commands no task waits that a worker with room serves. So `match` looks only at what
the command made available (`Crews.fresh`), and never at a task that nobody there serves.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

from cluster.core import leasing, lifecycle
from cluster.core.crews import Crew, Seat
from cluster.core.model import Worker
from cluster.core.ready import Lane
from cluster.core.state import State

STEPS_MAX = 2_000  # Leases given and expired tasks dropped in one match; the next one goes on.


def match(state: State) -> None:
    """Lease, best task first, until no task waits that a worker with room serves.

    The best task has the highest priority and then the earliest place; of the workers that serve
    it the least loaded takes it. Tasks that have waited too long are dropped on the way.
    """
    fresh = state.crews.fresh
    if not fresh:
        return
    if len(fresh) == 1:
        is_done = _serve_one(state, next(iter(fresh)))
    else:
        is_done = _serve_all(state, list(fresh))
    if is_done:
        fresh.clear()


def _serve_one(state: State, source: Lane | Crew) -> bool:
    """Serve *source* until it is empty or nobody has room; False when that was too much."""
    for _ in range(STEPS_MAX):
        head = source.best()
        if head is None or not _serve(state, head[2]):
            return True
    return False


def _serve_all(state: State, sources: list[Lane | Crew]) -> bool:
    """Serve whichever of *sources* has the best task, over and over; False when it was too much."""
    heads = [source.best() for source in sources]
    ranks = [(head[0], head[1], at) for at, head in enumerate(heads) if head is not None]
    heapify(ranks)
    for _ in range(STEPS_MAX):
        while ranks:
            rank, place, at = ranks[0]
            head = sources[at].best()
            if head is not None and head[:2] != (rank, place):
                heapreplace(ranks, (head[0], head[1], at))  # Its best task went to another.
            elif head is not None and _serve(state, head[2]):
                break
            else:
                heappop(ranks)
        if not ranks:
            return True
    return False


def _serve(state: State, lane: Lane) -> bool:
    """Lease the lane's first task, or drop it when it is too late; False when nobody has room."""
    worker = least_loaded(lane)
    if worker is None:
        return False
    first = lane.tasks.first()
    assert first is not None, "a lane with a head has a task"
    if lifecycle.is_expired(state, first[2]):
        lifecycle.expire(state, first[2])
    else:
        leasing.grant(state, first[2], worker)
    return True


def least_loaded(lane: Lane) -> Worker | None:
    """The worker that takes the lane's next task, if one has room."""
    best: Seat | None = None
    for crew in lane.market.crews:
        seat = crew.available.first()
        if seat is not None and (best is None or seat < best) and crew.serves(lane.type):
            best = seat
    return None if best is None else best[3]
