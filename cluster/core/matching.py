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


def match(state: State) -> None:
    """Lease, best task first, until no task waits that a worker with room serves.

    The best task has the highest priority and then the earliest place; of the workers that serve
    it the least loaded takes it. Tasks that have waited too long are dropped on the way, as many as
    the entry may still do; if that ends it, what is fresh stays fresh for the next entry.
    """
    fresh = state.crews.fresh
    if not fresh:
        return
    if len(fresh) == 1:
        _serve_one(state, next(iter(fresh)))
    else:
        _serve_all(state, list(fresh))
    if state.units_left:
        fresh.clear()


def _serve_one(state: State, source: Lane | Crew) -> None:
    """Serve *source* until it is empty or nobody has room."""
    while (head := source.best()) is not None:
        if not _serve(state, head[2]):
            return


def _serve_all(state: State, sources: list[Lane | Crew]) -> None:
    """Serve whichever of *sources* has the best task, over and over."""
    heads = [source.best() for source in sources]
    ranks = [(head[0], head[1], at) for at, head in enumerate(heads) if head is not None]
    heapify(ranks)
    while ranks:
        rank, place, at = ranks[0]
        head = sources[at].best()
        if head is not None and head[:2] != (rank, place):
            heapreplace(ranks, (head[0], head[1], at))  # What was its best has been served.
        elif head is None or not _serve(state, head[2]):
            heappop(ranks)


def _serve(state: State, lane: Lane) -> bool:
    """Lease the lane's first task, or drop it when it is too late; False when it must wait."""
    worker = least_loaded(lane)
    if worker is None:
        return False
    first = lane.tasks.first()
    assert first is not None, "a lane with a head has a task"
    task = first[2]
    if not lifecycle.is_expired(state, task):
        leasing.grant(state, task, worker)
        return True
    if not state.units_left:
        return False
    state.units_left -= 1
    lifecycle.expire(state, task)
    return True


def least_loaded(lane: Lane) -> Worker | None:
    """The worker that takes the lane's next task, if one has room."""
    best: Seat | None = None
    for crew in lane.market.crews:
        seat = crew.available.first()
        if seat is not None and (best is None or seat < best) and crew.serves(lane.type):
            best = seat
    return None if best is None else best[3]
