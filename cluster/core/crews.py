"""Who could take work: the active workers, in crews that take the same work.

A crew is all active workers of one namespace that are connected to one node and state the same
queues, types and tags. Its members with room stand in order of load: the thousandths of its slots
in use, then who was served longest ago, so that equals take turns. The crews of a suspended node
are passed over. Nothing here decides who runs what: `matching.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from cluster.core.model import SharedKind, Task, Worker
from cluster.core.ordered import Ordered
from cluster.core.ready import Lane, Market, QueueKey, Ready, by_turn

# Namespace, queues, types, tags, and the node that its members are connected to.
Profile = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...], str]

by_seat = attrgetter("seat")


class Node:
    """A node that active workers are connected to. It stands while it has crews."""

    __slots__ = ("crews", "id", "is_suspended")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.is_suspended = False  # Its crews are given nothing.
        self.crews: dict[Profile, Crew] = {}


class Crew:
    """Workers that are interchangeable. It stands while it has members."""

    __slots__ = ("available", "markets", "members", "node", "profile", "tags", "types")

    def __init__(self, profile: Profile, node: Node) -> None:
        self.profile = profile
        self.node = node
        self.types = profile[2]
        self.tags = profile[3]
        self.markets: list[Market] = []  # Those whose queue and required tags fit.
        self.members = 0
        self.available: Ordered[Worker] = Ordered(by_seat)  # The members that have room.

    def serves(self, type_: str) -> bool:
        """Whether its members run tasks of this type."""
        return not self.types or type_ in self.types

    def best(self) -> Lane | None:
        """The lane whose first task goes first, of all that it serves, while a member has room."""
        if self.available.first is None:
            return None
        markets = self.markets
        if len(markets) == 1:
            return markets[0].best(self.types)
        heads = [market.best(self.types) for market in markets]
        return min((lane for lane in heads if lane is not None), key=by_turn, default=None)


class Crews:
    """Every active worker, in exactly one crew."""

    __slots__ = ("by_profile", "by_queue", "fresh", "nodes", "of_worker")

    def __init__(self) -> None:
        self.by_profile: dict[Profile, Crew] = {}
        self.by_queue: dict[QueueKey, list[Crew]] = {}
        self.nodes: dict[str, Node] = {}
        self.of_worker: dict[int, Crew] = {}  # By worker number.
        self.fresh: dict[Lane | Crew, None] = {}  # What gained tasks or room since the last match.

    def enlist(self, worker: Worker, ready: Ready) -> None:
        """Count an active worker in. It has no room until it says so."""
        profile = (
            worker.namespace,
            tuple(sorted(dict.fromkeys(worker.queues))),
            tuple(sorted(dict.fromkeys(worker.types))),
            tuple(sorted(dict.fromkeys(worker.tags))),
            worker.node,
        )
        crew = self.by_profile.get(profile) or self._found(profile, ready)
        crew.members += 1
        self.of_worker[worker.number] = crew

    def dismiss(self, worker: Worker, ready: Ready) -> None:
        """Count an active worker out: it is given nothing more."""
        self.seat(worker, 0)
        crew = self.of_worker.pop(worker.number)
        crew.members -= 1
        if not crew.members:
            self._disband(crew, ready)

    def move(self, worker: Worker, node: str, ready: Ready) -> None:
        """Have a worker be reached through *node* from now on."""
        if worker.node == node:
            return
        if worker.number not in self.of_worker:
            worker.node = node
            return
        room = worker.room
        self.dismiss(worker, ready)
        worker.node = node
        self.enlist(worker, ready)
        self.seat(worker, room)

    def look_again(self, crews: Iterable[Crew]) -> None:
        """Let crews look for tasks, though they have gained no room; in an order of no history."""
        for crew in sorted(crews, key=attrgetter("profile")):
            self.fresh[crew] = None

    def seat(self, worker: Worker, room: int) -> None:
        """Set a worker's room, and its place among the others after its leases changed."""
        is_more = room > worker.room
        worker.room = room
        crew = self.of_worker.get(worker.number)
        if crew is None:
            worker.room = 0
            return
        if worker.seat is not None:
            crew.available.remove(worker)
            worker.seat = None
        if room > 0:
            load = len(worker.leases) * 1_000 // worker.slots
            worker.seat = (load, worker.newest_token, worker.number)
            crew.available.add(worker)
        if is_more:
            self.fresh[crew] = None

    def wait(self, kind: SharedKind, tasks: list[Task], ready: Ready) -> None:
        """Let pending tasks of one kind, given by turn, wait where the crews that serve it look.

        Without a worker that has room nobody need look now: whoever gains room will.
        """
        key = kind.market_key
        market = ready.markets.get(key)
        if market is None:
            market = ready.open(key, is_paused=kind.home.is_paused)
            for crew in self.by_queue.get(key[:2], ()):
                self._attend(crew, market)
        lane = ready.add(market, kind, tasks)
        for crew in market.crews:
            if crew.available.first is not None:
                self.fresh[lane] = None
                return

    def _found(self, profile: Profile, ready: Ready) -> Crew:
        node = self.nodes.get(profile[4])
        if node is None:
            node = self.nodes[profile[4]] = Node(profile[4])
        crew = self.by_profile[profile] = node.crews[profile] = Crew(profile, node)
        for queue in profile[1]:
            self.by_queue.setdefault((profile[0], queue), []).append(crew)
            for market in ready.by_queue.get((profile[0], queue), ()):
                self._attend(crew, market)
        return crew

    def _disband(self, crew: Crew, ready: Ready) -> None:
        namespace, queues, _, _, _ = crew.profile
        del self.by_profile[crew.profile]
        del crew.node.crews[crew.profile]
        if not crew.node.crews:
            del self.nodes[crew.node.id]
        for queue in queues:
            neighbours = self.by_queue[namespace, queue]
            neighbours.remove(crew)
            if not neighbours:
                del self.by_queue[namespace, queue]
        for market in crew.markets:
            market.crews.remove(crew)
            ready.close_if_idle(market)

    def _attend(self, crew: Crew, market: Market) -> None:
        if all(tag in crew.tags for tag in market.key[2]):
            crew.markets.append(market)
            market.crews.append(crew)
