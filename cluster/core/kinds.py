"""Every kind that a task has, kept once: equal kinds are one record, however many tasks have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.core.model import PENDING, SCHEDULED, Kind, TaskStatus
from cluster.core.queues import Queue
from cluster.core.ready import MarketKey

if TYPE_CHECKING:
    from cluster.core.state import Space


class SharedKind:
    """A kind as tasks have it: its words, and what they lead to, each found but once for all."""

    __slots__ = (
        "content_type",
        "home",
        "level",
        "market_key",
        "namespace",
        "plain",
        "policy",
        "priority",
        "queue",
        "requires",
        "space",
        "tasks",
        "type",
    )

    def __init__(self, plain: Kind, space: Space, home: Queue) -> None:
        self.plain = plain
        self.type = plain.type
        self.content_type = plain.content_type
        self.queue = plain.queue
        self.priority = plain.priority
        self.policy = plain.policy
        self.requires = plain.requires
        self.namespace = plain.namespace
        self.space = space  # The namespace's tables.
        self.home = home  # The queue that these tasks are in.
        self.level = home.level(plain.priority)  # Where they stand in it while they are pending.
        self.market_key: MarketKey = (plain.namespace, plain.queue, plain.requires)
        self.tasks = 0  # How many there are.

    def submitted(self, pending: int, scheduled: int) -> None:
        """Count tasks that came in, where their namespace and their queue are counted."""
        self.space.tally.submitted_ever += pending + scheduled
        self.home.size += pending + scheduled
        counts = self.space.tally.by_status
        counts[PENDING] += pending
        counts[SCHEDULED] += scheduled
        counts = self.home.by_status
        counts[PENDING] += pending
        counts[SCHEDULED] += scheduled

    def moved(self, before: TaskStatus, status: TaskStatus) -> None:
        """Count a task that went from one status to another, in both places."""
        counts = self.space.tally.by_status
        counts[before] -= 1
        counts[status] += 1
        counts = self.home.by_status
        counts[before] -= 1
        counts[status] += 1

    def __repr__(self) -> str:
        return repr(self.plain)


class Kinds:
    """The kinds of all tasks that are kept, and no others."""

    __slots__ = ("_newest", "shared")

    def __init__(self) -> None:
        self.shared: dict[Kind, SharedKind] = {}
        self._newest: SharedKind | None = None  # What was asked for last is mostly asked for again.

    def find(self, kind: Kind) -> SharedKind | None:
        """The one record of all that equal *kind*, if a task has it."""
        newest = self._newest
        if newest is not None and newest.plain is kind:
            return newest
        self._newest = shared = self.shared.get(kind)
        return shared

    def add(self, shared: SharedKind) -> None:
        """Take in one that no task had."""
        self.shared[shared.plain] = self._newest = shared

    def remove(self, shared: SharedKind) -> None:
        """Forget one that no task has any more."""
        del self.shared[shared.plain]
        self._newest = None
