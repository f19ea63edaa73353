"""The machine's whole state: plain data, and the one way to say that something happened.

It holds no rule. What is derived from the tasks and workers (lanes, crews, timers, tallies, the
listing) is kept here beside them, and `invariants.py` says how each follows from them.
"""

from __future__ import annotations

from collections import OrderedDict
from operator import attrgetter

from cluster.core import sizes, timelines
from cluster.core.accounting import UNBOUNDED_BYTES, Tally
from cluster.core.crews import Crews
from cluster.core.dead_letters import DeadLetters
from cluster.core.idempotency import Keys
from cluster.core.kinds import Kinds
from cluster.core.listing import Listing
from cluster.core.model import ERROR_TOLD_MAX, Event, Kind, Moment, SharedKind, Task, Worker
from cluster.core.operations import Operations
from cluster.core.ordered import Ordered
from cluster.core.queues import Queues
from cluster.core.ready import Ready, by_turn
from cluster.core.ring import Ring
from cluster.core.table import Table

_new = tuple.__new__
by_number = attrgetter("number")
by_timer = attrgetter("timer")
by_timeout = attrgetter("run.timeout")


class Space:
    """What belongs to one namespace."""

    __slots__ = ("dead", "listing", "queues", "rested", "roster", "tally", "tasks", "workers")
    __deletable__ = ("dead", "listing", "queues", "rested", "roster", "tally", "tasks", "workers")

    def __init__(self) -> None:
        self.tasks: Table[Task] = Table()
        self.workers: dict[str, Worker] = {}
        self.roster: Ordered[Worker] = Ordered(by_number)  # In order of registration.
        self.listing = Listing()
        self.queues = Queues()
        self.dead = DeadLetters()
        self.rested: Ordered[Task] = Ordered(by_turn)  # What else has ended, in this order.
        self.tally = Tally()


class State:
    """Tables, timers, counters and clocks. Times are milliseconds."""

    __slots__ = (
        "bytes_ended",
        "bytes_used",
        "crews",
        "events",
        "grace_until_ms",
        "heartbeat_ms",
        "keys",
        "kinds",
        "lease_ms",
        "lost",
        "machine_version",
        "memory_bytes_max",
        "newest_number",
        "newest_place",
        "newest_token",
        "now",
        "operations",
        "ready",
        "ring",
        "sessions",
        "spaces",
        "timeouts",
        "timers",
        "units_left",
    )
    # Compiled classes let go of no attribute that is not named here (`letting_go.py`).
    __deletable__ = (
        "crews",
        "events",
        "keys",
        "kinds",
        "lost",
        "now",
        "operations",
        "ready",
        "ring",
        "sessions",
        "spaces",
        "timeouts",
        "timers",
    )

    def __init__(self, *, lease_ms: int, heartbeat_ms: int) -> None:
        self.lease_ms = lease_ms
        self.heartbeat_ms = heartbeat_ms
        self.memory_bytes_max = UNBOUNDED_BYTES
        self.bytes_used = 0  # By `sizes`, of all that is kept: see `room`.
        self.bytes_ended = 0  # Of this, what tasks that have ended take.
        self.now = Moment(0, 0, 0, 0)  # Of the newest entry.
        self.events: list[Event] = []  # Of the entry that is being applied.
        self.ring = Ring()  # The newest of all entries.
        self.units_left = 0  # How much that is due the entry may still do.

        self.machine_version = 1  # Of the rules in force: see `versions.py`.
        self.spaces: dict[str, Space] = {}
        self.kinds = Kinds()
        self.ready = Ready()
        self.crews = Crews()
        self.newest_number = 0  # Counters that only grow.
        self.newest_place = 0
        self.newest_token = 0

        # Both by worker number, the earliest deadline first: deadlines are given in this order.
        self.sessions: OrderedDict[int, Worker] = OrderedDict()
        self.lost: OrderedDict[int, Worker] = OrderedDict()
        self.grace_until_ms = 0  # No session is lost before it (cluster time).
        self.timeouts: Ordered[Task] = Ordered(by_timeout)  # Of running tasks.
        self.timers: Ordered[Task] = Ordered(by_timer)
        self.operations = Operations()
        self.keys = Keys()

    def space(self, namespace: str) -> Space:
        """The namespace's tables; an unknown one has empty ones, which are not kept."""
        return self.spaces.get(namespace) or Space()

    def open_space(self, namespace: str) -> Space:
        """The namespace's tables, which are kept from now on."""
        space = self.spaces.get(namespace)
        if space is None:
            space = self.spaces[namespace] = Space()
        return space

    def open_kind(self, plain: Kind) -> SharedKind:
        """The record of a kind that no task has, for tasks that come now."""
        space = self.open_space(plain.namespace)
        kind = SharedKind(plain, space, space.queues.open(plain.queue))
        self.kinds.add(kind)
        return kind

    def task(self, namespace: str, task_id: str) -> Task | None:
        """The task, if it is known."""
        space = self.spaces.get(namespace)
        return None if space is None else space.tasks.get(task_id)

    def submitted(self, kind: SharedKind, tasks: list[Task]) -> None:
        """Note that tasks of one kind came in."""
        now = self.now
        events = self.events
        for task in tasks:
            events.append(
                _new(
                    Event,
                    (
                        now.index,
                        len(events),
                        now.term,
                        now.cluster_ms,
                        "submitted",
                        task.id,
                        kind.queue,
                        task.status,
                        None,
                        None,
                        None,
                        None,
                        None,
                    ),
                )
            )

    def happened(
        self,
        kind: str,
        task: Task,
        worker_id: str | None = None,
        attempt: int | None = None,
        error: str | None = None,
    ) -> None:
        """Note a task's transition, after it was made; its token when it was a run's doing."""
        now = self.now
        run = task.run
        token = None
        if run is not None and (worker_id is not None or attempt is not None):
            token = run.lease_token
        if error is not None:
            error = error[:ERROR_TOLD_MAX]
        events = self.events
        # A third of the time that `Event(…)` takes: three are made in a task's life.
        event = _new(
            Event,
            (
                now.index,
                len(events),
                now.term,
                now.cluster_ms,
                kind,
                task.id,
                task.kind.queue,
                task.status,
                worker_id,
                token,
                attempt,
                error,
                None,
            ),
        )
        events.append(event)
        if run is None or kind in timelines.LEAVE_NO_ENTRY:
            return
        entry = (now.index, now.term, now.cluster_ms, kind, worker_id, token, attempt, error)
        timeline = run.timeline
        if error is None and len(timeline) < timelines.LENGTH_MAX:
            run.timeline = timeline + entry
            self.bytes_used += sizes.ENTRY_BYTES
        else:
            run.timeline = timelines.extended(timeline, entry)
            self.bytes_used += sizes.timeline_bytes(run.timeline)
            self.bytes_used -= sizes.timeline_bytes(timeline)

    def happened_to_worker(self, kind: str, worker: Worker) -> None:
        """Note a worker's transition, after it was made."""
        self.happened_to_cluster(kind, worker_id=worker.id, status=worker.status, node=worker.node)

    def happened_to_cluster(
        self,
        kind: str,
        *,
        node: str | None = None,
        worker_id: str | None = None,
        status: str | None = None,
        queue: str | None = None,
    ) -> None:
        """Note a transition that is no task's."""
        self.events.append(
            Event(
                index=self.now.index,
                offset=len(self.events),
                term=self.now.term,
                time_ms=self.now.cluster_ms,
                kind=kind,
                queue=queue,
                status=status,
                worker_id=worker_id,
                node=node,
            )
        )
