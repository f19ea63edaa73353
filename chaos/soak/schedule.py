"""The schedule of a soak: which fault when, drawn from a seed before anything runs. Pure data.

Whom a fault hits is drawn as a role and a number, since who leads is not known before: the same
seed gives the same schedule, not the same run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple


class Lane(StrEnum):
    """What a fault takes hold of. Those of different lanes may overlap, each can still bite."""

    NODES = "nodes"
    WAYS = "ways"
    WORKERS = "workers"
    ALL = "all"  # Of a majority's processes or more: nothing else goes on meanwhile.


class Role(StrEnum):
    """Whom a fault hits."""

    LEADER = "leader"
    FOLLOWER = "follower"
    WORKER = "worker"
    MAJORITY = "majority"
    EVERYONE = "everyone"


class Kind(NamedTuple):
    """A kind of fault: what it takes hold of, whom it may hit, and how long it may last."""

    name: str
    lane: Lane
    roles: tuple[Role, ...]
    seconds_min: float
    seconds_max: float


_ONE = (Role.LEADER, Role.FOLLOWER)

# A cut lasts long enough for a ping to be lost, a worker is frozen up to past its lease.
KINDS = (
    Kind("node killed", Lane.NODES, _ONE, 0.5, 6.0),
    Kind("node frozen", Lane.NODES, _ONE, 0.5, 6.0),
    Kind("node restarted", Lane.NODES, _ONE, 0.0, 0.0),
    Kind("cut off", Lane.WAYS, _ONE, 1.5, 8.0),
    Kind("deaf", Lane.WAYS, _ONE, 1.5, 8.0),
    Kind("mute", Lane.WAYS, _ONE, 1.5, 8.0),
    Kind("pair cut", Lane.WAYS, _ONE, 1.5, 8.0),
    Kind("ring of majorities", Lane.WAYS, (Role.EVERYONE,), 1.5, 8.0),
    Kind("ways reset", Lane.WAYS, _ONE, 1.5, 6.0),
    Kind("ways slow", Lane.WAYS, _ONE, 2.0, 8.0),
    Kind("ways throttled", Lane.WAYS, _ONE, 2.0, 8.0),
    Kind("ways lossy", Lane.WAYS, _ONE, 3.0, 10.0),
    Kind("unplugged", Lane.WAYS, _ONE, 1.5, 8.0),
    Kind("flapping", Lane.WAYS, _ONE, 4.0, 10.0),
    Kind("worker killed", Lane.WORKERS, (Role.WORKER,), 0.5, 6.0),
    Kind("worker frozen", Lane.WORKERS, (Role.WORKER,), 1.0, 8.0),
    Kind("worker restarted", Lane.WORKERS, (Role.WORKER,), 0.0, 0.0),
    Kind("majority killed", Lane.ALL, (Role.MAJORITY,), 1.0, 5.0),
    Kind("majority frozen", Lane.ALL, (Role.MAJORITY,), 1.0, 5.0),
    Kind("all killed", Lane.ALL, (Role.EVERYONE,), 0.5, 3.0),
)

LANES = {kind.name: kind.lane for kind in KINDS}
ALL_LANE_SHARE = 0.15  # Of the episodes: the rest is faults that a majority outlives.
OVERLAP_SECONDS_MAX = 2.0  # Between the starts of an episode's faults.
CALM_SECONDS = (1.0, 6.0)  # Between episodes: the cluster may get well, or almost.


class Planned(NamedTuple):
    """One fault of the schedule. Times are seconds since the traffic began."""

    at: float
    seconds: float
    kind: str
    role: Role
    pick: float  # Which of those that have the role, as a share of them.

    def __str__(self) -> str:
        return f"{self.at:+8.2f} s  {self.kind} ({self.role}) for {self.seconds:.2f} s"


def draw(seed: int, seconds: float, kinds: Sequence[Kind] = KINDS) -> list[Planned]:
    """Faults for *seconds* of soak, in the order of their starts; the last one ends in time."""
    dice = random.Random(seed)
    lanes = {
        lane: _shuffled(dice, [kind for kind in kinds if kind.lane is lane])
        for lane in Lane
        if any(kind.lane is lane for kind in kinds)
    }
    planned: list[Planned] = []
    now = dice.uniform(*CALM_SECONDS)
    while True:
        episode = _episode(dice, lanes, now)
        end = max(fault.at + fault.seconds for fault in episode)
        if end > seconds:
            return planned
        planned += episode
        now = end + dice.uniform(*CALM_SECONDS)


def _episode(dice: random.Random, lanes: dict[Lane, Iterator[Kind]], begin: float) -> list[Planned]:
    """Faults of different lanes that overlap, or one that leaves no majority."""
    few = [lane for lane in lanes if lane is not Lane.ALL]
    if Lane.ALL in lanes and (not few or dice.random() < ALL_LANE_SHARE):
        return [_fault(dice, next(lanes[Lane.ALL]), begin)]
    chosen = dice.sample(few, dice.randint(1, len(few)))
    starts = [begin, *(begin + dice.uniform(0, OVERLAP_SECONDS_MAX) for _ in chosen[1:])]
    faults = [_fault(dice, next(lanes[lane]), at) for lane, at in zip(chosen, starts, strict=True)]
    return sorted(faults)


def _fault(dice: random.Random, kind: Kind, at: float) -> Planned:
    seconds = dice.uniform(kind.seconds_min, kind.seconds_max)
    role = dice.choice(kind.roles)
    return Planned(round(at, 2), round(seconds, 2), kind.name, role, round(dice.random(), 3))


def _shuffled(dice: random.Random, kinds: list[Kind]) -> Iterator[Kind]:
    """Each kind once in some order, then all again: none is left to luck."""
    while True:
        dice.shuffle(kinds)
        yield from kinds
