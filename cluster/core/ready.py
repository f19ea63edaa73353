"""What may go next: the pending tasks, in lanes that a worker serves whole or not at all.

A *lane* is all pending tasks of one namespace, queue, type and set of required tags, by turn:
within a priority the earlier first, and a higher priority before a lower one, unless that came
`AGEING_MS` earlier for each level between them, so that nothing waits for ever. A *market* is the
lanes that differ in their type only, in the same order by their first tasks, so that a worker of
every type finds its next task in one look however many types there are. Nothing here decides who
runs what: `matching.py` does.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from cluster.core.model import SharedKind, Task
from cluster.core.ordered import Ordered

if TYPE_CHECKING:
    from cluster.core.crews import Crew

AGEING_MS = 300_000  # Cluster time for which a task makes way for one of the next priority.
PLACES_PER_MS = 1 << 20
PLACE_STEP = 1 << 4  # Between two places: room for every priority.
_TURNS_PER_LEVEL = AGEING_MS * PLACES_PER_MS + 1

QueueKey = tuple[str, str]  # Namespace and queue.
MarketKey = tuple[str, str, tuple[str, ...]]  # Namespace, queue and required tags.

by_turn = attrgetter("turn")


def turn_of(place: int, priority: int) -> int:
    """When a task's turn comes among others: an integer that no other place and priority have.

    A priority is worth `AGEING_MS` of earlier arrival. The one more per level tells apart what
    would else fall together: places are multiples of `PLACE_STEP`, and there are fewer priorities.
    """
    return place - priority * _TURNS_PER_LEVEL


def market_key(task: Task) -> MarketKey:
    """The market that *task* belongs to."""
    return task.kind.market_key


class Lane:
    """Tasks that the same workers serve. It stands while it has tasks."""

    __slots__ = ("market", "tasks", "turn", "type")

    def __init__(self, market: Market, type_: str) -> None:
        self.market = market
        self.type = type_
        self.tasks: Ordered[Task] = Ordered(by_turn)
        self.turn: int | None = None  # Its first task's, as the market knows it.

    def best(self) -> Lane | None:
        """Itself, as `Crew.best` says it, while it has a task that may go next."""
        return None if self.turn is None or self.market.is_paused else self

    def publish(self) -> bool:
        """Tell the market that another task has become the first, or that none is left: False."""
        first = self.tasks.first
        turn = None if first is None else first.turn
        market = self.market
        if turn is not None and self.turn is not None and len(market.lanes) == 1:
            self.turn = turn  # A lane alone stays where it is.
            return True
        if self.turn is not None:
            market.heads.remove(self)
        self.turn = turn
        if turn is None:
            return False
        market.heads.add(self)
        return True


class Market:
    """The lanes of one queue and set of required tags. It stands while it has a lane or a crew."""

    __slots__ = ("crews", "heads", "is_paused", "key", "lanes")

    def __init__(self, key: MarketKey, *, is_paused: bool) -> None:
        self.key = key
        self.is_paused = is_paused  # With its queue: then nothing of it is next.
        self.lanes: dict[str, Lane] = {}  # By type.
        self.heads: Ordered[Lane] = Ordered(by_turn)
        self.crews: list[Crew] = []  # Those whose queues and tags fit; their types may not.

    def best(self, types: tuple[str, ...]) -> Lane | None:
        """The lane whose first task goes first, of these types, or of any when none is named."""
        if self.is_paused:
            return None
        if not types or not self.lanes:
            return self.heads.first
        lanes = [self.lanes[type_] for type_ in types if type_ in self.lanes]
        return min(lanes, key=by_turn, default=None)


class Ready:
    """Every pending task, in exactly one lane."""

    __slots__ = ("by_queue", "markets")

    def __init__(self) -> None:
        self.markets: dict[MarketKey, Market] = {}
        self.by_queue: dict[QueueKey, list[Market]] = {}

    def lane_of(self, task: Task) -> Lane | None:
        """The lane that *task* would wait in, if it stands."""
        market = self.market_of(task)
        return None if market is None else market.lanes.get(task.kind.type)

    def market_of(self, task: Task) -> Market | None:
        """The market that *task* would wait in, if it stands."""
        return self.markets.get(market_key(task))

    def open(self, key: MarketKey, *, is_paused: bool) -> Market:
        """Begin a market; whoever does tells the crews."""
        market = self.markets[key] = Market(key, is_paused=is_paused)
        self.by_queue.setdefault(key[:2], []).append(market)
        return market

    def set_paused(self, queue: QueueKey, *, is_paused: bool) -> None:
        """Let nothing of a queue be next, or let it be so again; then its crews must look."""
        for market in self.by_queue.get(queue, ()):
            market.is_paused = is_paused

    def close_if_idle(self, market: Market) -> None:
        """End a market that has neither lanes nor crews."""
        if market.lanes or market.crews:
            return
        del self.markets[market.key]
        neighbours = self.by_queue[market.key[:2]]
        neighbours.remove(market)
        if not neighbours:
            del self.by_queue[market.key[:2]]

    def add(self, market: Market, kind: SharedKind, tasks: list[Task]) -> Lane:
        """Let tasks of one kind wait, given by turn, each at its place among the others."""
        lane = market.lanes.get(kind.type)
        if lane is None:
            lane = market.lanes[kind.type] = Lane(market, kind.type)
        kind.level.extend(tasks)
        lane.tasks.extend(tasks)
        if lane.turn is None or tasks[0].turn < lane.turn:
            lane.publish()
        return lane

    def remove(self, task: Task) -> None:
        """Let *task* wait no longer."""
        kind = task.kind
        market = self.markets[kind.market_key]
        lane = market.lanes[kind.type]
        kind.level.remove(task)
        lane.tasks.remove(task)
        if task.turn == lane.turn and not lane.publish():
            del market.lanes[lane.type]
            self.close_if_idle(market)
