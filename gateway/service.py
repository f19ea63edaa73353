"""The service: what every handler is given. It asks the replica and says its no in problems."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from cluster.answers import Answered, Committed, Consistency
from cluster.core.commands import Command, Refused
from cluster.core.queries import Query
from cluster.replica import Replica
from gateway.defaults import SubmitDefaults
from gateway.measures import Measures
from gateway.outcomes import accepted
from gateway.polls import Polls
from gateway.positions import mark_of
from gateway.queries import Reading
from gateway.readers import Readers
from gateway.sessions import Sessions
from gateway.watching import Watching

R = TypeVar("R")
A = TypeVar("A")


class Peer(Protocol):
    """The other end of a connection that stays."""

    async def leave(self) -> None:
        """The node stops: let the peer go elsewhere, and return once it may be cut off."""


@dataclass(slots=True, kw_only=True)
class Service:
    """A replica with what the gateway adds to it. Lives and dies with the application."""

    replica: Replica
    defaults: SubmitDefaults
    lease_seconds: float
    measures: Measures = field(default_factory=Measures)
    watching: Watching = field(default_factory=Watching)
    readers: Readers = field(default_factory=Readers)
    peers: set[Peer] = field(default_factory=set)
    is_stopping: bool = False  # What comes from now on is for another node.
    large_pages: asyncio.Lock = field(default_factory=asyncio.Lock)  # Held to make one.
    polls: Polls = field(init=False)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.replica, self.watching)
        self.polls = Polls(self.replica, self.watching)

    @property
    def node_id(self) -> str:
        """This node, as workers' records name it."""
        return self.replica.node_id

    @property
    def mark(self) -> str:
        """The cluster's mark, which the positions of its events bear."""
        return mark_of(self.replica.cluster_id)

    async def propose(self, command: Command[R | Refused]) -> Committed[R]:
        """Commit *command* and return the reply that is not a refusal.

        Raises:
            Problem: the machine refused; with the refusal's code.
            QuorateError: as `Replica.propose`.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        committed = await self.replica.propose(command)
        self.measures.commit_seconds.add(loop.time() - started)
        return accepted(committed)

    async def read(self, query: Query[A], reading: Reading) -> Answered[A]:
        """Answer *query* as freshly as the client asked for."""
        return await self.replica.read(
            query, consistency=reading.consistency, min_index=reading.min_index
        )

    async def read_after(self, query: Query[A], index: int) -> Answered[A]:
        """Answer *query* from this node's own state once it holds *index*: a write just made."""
        return await self.replica.read(query, consistency=Consistency.STALE, min_index=index)
