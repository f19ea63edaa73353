"""What may go next: the pending tasks, in lanes that a worker serves whole or not at all.

A *lane* is all pending tasks of one namespace, queue, type and set of required tags, the higher
priority first and then the earlier place. A *market* is the lanes that differ in their type only,
with their heads in the same order, so that a worker of every type finds its next task in one look
however many types there are. Nothing here decides who runs what: `matching.py` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.core.model import Task
from cluster.core.ordered import Ordered

if TYPE_CHECKING:
    from cluster.core.crews import Crew

Head = tuple[
    int, int, "Lane"
]  # Minus the priority, the place, and the lane whose first task it is.
MarketKey = tuple[str, str, tuple[str, ...]]  # Namespace, queue and required tags.


class Lane:
    """Tasks that the same workers serve. It stands while it has tasks."""

    __slots__ = ("head", "market", "tasks", "type")

    def __init__(self, market: Market, type_: str) -> None:
        self.market = market
        self.type = type_
        self.tasks: Ordered[tuple[int, int, Task]] = Ordered()
        self.head: Head | None = None  # As the market knows it.

    def best(self) -> Head | None:
        """Its first task's rank."""
        return self.head

    def publish(self) -> None:
        """Tell the market when another task has become the first."""
        first = self.tasks.first()
        head = None if first is None else (first[0], first[1], self)
        if head == self.head:
            return
        if self.head is not None:
            self.market.heads.remove(self.head)
        if head is not None:
            self.market.heads.add(head)
        self.head = head


class Market:
    """The lanes of one queue and set of required tags. It stands while it has a lane or a crew."""

    __slots__ = ("crews", "heads", "key", "lanes")

    def __init__(self, key: MarketKey) -> None:
        self.key = key
        self.lanes: dict[str, Lane] = {}  # By type.
        self.heads: Ordered[Head] = Ordered()
        self.crews: list[Crew] = []  # Those whose queues and tags fit; their types may not.

    def best(self, types: tuple[str, ...]) -> Head | None:
        """The rank of the first task of these types, or of any when none is named."""
        if not types or not self.lanes:
            return self.heads.first()
        lanes = [self.lanes[type_] for type_ in types if type_ in self.lanes]
        return min((lane.head for lane in lanes if lane.head is not None), default=None)


class Ready:
    """Every pending task, in exactly one lane."""

    __slots__ = ("by_queue", "markets")

    def __init__(self) -> None:
        self.markets: dict[MarketKey, Market] = {}
        self.by_queue: dict[tuple[str, str], list[Market]] = {}

    def lane_of(self, task: Task) -> Lane | None:
        """The lane that *task* would wait in, if it stands."""
        market = self.market_of(task)
        return None if market is None else market.lanes.get(task.type)

    def market_of(self, task: Task) -> Market | None:
        """The market that *task* would wait in, if it stands."""
        return self.markets.get((task.namespace, task.queue, task.requires))

    def open(self, key: MarketKey) -> Market:
        """Begin a market; whoever does tells the crews."""
        market = self.markets[key] = Market(key)
        self.by_queue.setdefault(key[:2], []).append(market)
        return market

    def close_if_idle(self, market: Market) -> None:
        """End a market that has neither lanes nor crews."""
        if market.lanes or market.crews:
            return
        del self.markets[market.key]
        neighbours = self.by_queue[market.key[:2]]
        neighbours.remove(market)
        if not neighbours:
            del self.by_queue[market.key[:2]]

    def add(self, market: Market, task: Task) -> Lane:
        """Let *task* wait at its place, wherever among the others that is."""
        lane = market.lanes.get(task.type)
        if lane is None:
            lane = market.lanes[task.type] = Lane(market, task.type)
        lane.tasks.add((-task.priority, task.place, task))
        lane.publish()
        return lane

    def remove(self, task: Task) -> None:
        """Let *task* wait no longer."""
        market = self.markets[task.namespace, task.queue, task.requires]
        lane = market.lanes[task.type]
        lane.tasks.remove((-task.priority, task.place, task))
        lane.publish()
        if lane.head is None:
            del market.lanes[task.type]
            self.close_if_idle(market)
