"""Who runs what: pending tasks and workers with room, in the command that made both available.

Between two commands no task waits that a worker with room serves. So `match` looks only at what
the command made available (`Crews.fresh`), and never at a task that nobody there serves.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

from cluster.core import leasing, lifecycle
from cluster.core.crews import Crew, by_seat
from cluster.core.model import Worker
from cluster.core.ready import Lane
from cluster.core.state import State

LEASES_MAX = 1_000  # Of one match. Only what makes room for many workers at once asks for more.


def match(state: State) -> None:
    """Lease, best task first, until no task waits that a worker with room serves.

    The best task is the one with the least turn; of the workers that serve it the least loaded
    takes it. Tasks that have waited too long are dropped on the way, as many as the entry may still
    do. If that or `LEASES_MAX` ends it, what is fresh stays fresh for the next match.
    """
    fresh = state.crews.fresh
    if not fresh:
        return
    token_max = state.newest_token + LEASES_MAX
    if len(fresh) == 1:
        (source,) = fresh
        while (lane := source.best()) is not None and _serve(state, lane, token_max):
            pass
    else:
        _serve_all(state, list(fresh), token_max)
    if state.units_left and state.newest_token < token_max:
        fresh.clear()


def _serve_all(state: State, sources: list[Lane | Crew], token_max: int) -> None:
    """Serve whichever of *sources* has the best task, over and over."""
    lanes = [source.best() for source in sources]
    turns = [(lane.turn, at) for at, lane in enumerate(lanes) if lane is not None]
    heapify(turns)
    while turns:
        turn, at = turns[0]
        lane = sources[at].best()
        if lane is not None and lane.turn != turn:
            heapreplace(turns, (lane.turn, at))  # What was its best has been served.
        elif lane is None or not _serve(state, lane, token_max):
            heappop(turns)


def _serve(state: State, lane: Lane, token_max: int) -> bool:
    """Lease the lane's first task, or drop it when it is too late; False when it must wait."""
    worker = least_loaded(lane)
    if worker is None or state.newest_token == token_max:
        return False
    task = lane.tasks.first
    assert task is not None, "a lane with a turn has a task"
    if task.expires_at_ms is None or not lifecycle.is_expired(state, task):
        leasing.grant(state, task, worker)
        return True
    if not state.units_left:
        return False
    state.units_left -= 1
    lifecycle.expire(state, task)
    return True


def least_loaded(lane: Lane) -> Worker | None:
    """The worker that takes the lane's next task, if one has room."""
    best: Worker | None = None
    for crew in lane.market.crews:
        worker = crew.available.first
        if worker is None or crew.node.is_suspended or not crew.serves(lane.type):
            continue
        if best is None or by_seat(worker) < by_seat(best):
            best = worker
    return best
