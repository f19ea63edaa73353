"""The replica: what everything above knows of the cluster. It proposes, reads, watches, tells.

It turns what is asked into what its parts (`participant.py`) do; it knows nothing of HTTP.
"""

from __future__ import annotations

from typing import TypeVar

from cluster import codec
from cluster.answers import Answered, Committed, Consistency
from cluster.backlog import Traffic, traffic_of
from cluster.core.commands import Command
from cluster.core.model import Position
from cluster.core.queries import Query
from cluster.log_pages import ENTRIES_MAX, RawPage, cut_out
from cluster.participant import Participant
from cluster.proposals import Proposal
from cluster.status import ClusterStatus
from cluster.usage import Usage, usage
from cluster.watching import From, Watch

R = TypeVar("R")
A = TypeVar("A")

PROPOSE_TIMEOUT_SECONDS = 5.0  # How long a write or a read waits for a leader.
CHANGE_TIMEOUT_SECONDS = 90.0  # How long a change of members may take, catching up included.


class Replica(Participant):
    """What may be asked of a node's part of the cluster, from the loop that started it."""

    async def propose(
        self, command: Command[R], *, timeout_seconds: float = PROPOSE_TIMEOUT_SECONDS
    ) -> Committed[R]:
        """Commit *command* through the leader, wherever it is, and return the machine's reply.

        Raises:
            NotCommitted: it did not and will not happen; safe to repeat.
            OutcomeUnknown: it may have happened; repeat it only with the same id.
        """
        traffic = traffic_of(command)
        self._check_backlog(traffic)
        future = self._loop.create_future()
        deadline = self._loop.time() + timeout_seconds
        self._proposals.add(Proposal(codec.pack_command(command), traffic, future, deadline))
        self._dispatcher.dispatch_soon()
        outcome = await future
        return Committed(outcome.reply, outcome.log_index, outcome.term)

    async def read(
        self,
        query: Query[A],
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        min_index: int = 0,
        timeout_seconds: float = PROPOSE_TIMEOUT_SECONDS,
    ) -> Answered[A]:
        """Answer *query* from a state at least as new as asked for.

        Raises:
            NoQuorum: no leader confirmed the read in time.
            NotCaughtUp: this node has not applied *min_index* in time.
            Overloaded: it would have to wait, and too much is under way for that.
        """
        if consistency is Consistency.LINEARIZABLE or min_index > self._engine.applied_index:
            self._check_backlog(Traffic.READ)
            with self._backlog.one_more():
                await self._wait_until_readable(consistency, min_index, timeout_seconds)
        return Answered(
            self.machine.answer(query),
            self._engine.applied_index,
            self._engine.term,
            self._view.staleness_seconds(),
        )

    async def _wait_until_readable(
        self, consistency: Consistency, min_index: int, timeout_seconds: float
    ) -> None:
        deadline = self._loop.time() + timeout_seconds
        index = min_index
        if consistency is Consistency.LINEARIZABLE:
            index = max(index, await self._barriers.index(deadline))
        await self._applied_waiters.wait(index, deadline)

    async def add_member(
        self, node_id: str, raft: str, *, timeout_seconds: float = CHANGE_TIMEOUT_SECONDS
    ) -> None:
        """Have *node_id*, which runs at *raft*, catch up and then vote.

        Raises:
            ChangeRefused: its id or address is a member's, it did not catch up, or another change
                is under way. To repeat what was done is no refusal.
            NoQuorum: no leader was reached.
            OutcomeUnknown: it may have become a member.
        """
        await self._steering.ask("add", node_id, raft, timeout_seconds=timeout_seconds)

    async def remove_member(
        self, node_id: str, *, timeout_seconds: float = CHANGE_TIMEOUT_SECONDS
    ) -> None:
        """Have *node_id* count no longer. Raises as `add_member` does, and

        MemberUnknown: it is no member.
        """
        await self._steering.ask("remove", node_id, timeout_seconds=timeout_seconds)

    async def change_leader(
        self, to: str | None = None, *, timeout_seconds: float = PROPOSE_TIMEOUT_SECONDS
    ) -> None:
        """Have *to* lead, or whichever member is furthest. Raises as `remove_member` does."""
        await self._steering.ask("lead", to, timeout_seconds=timeout_seconds)

    def watch(self, after: Position | From = From.NOW) -> Watch:
        """Every event that comes after the one at that position, in order; close it when done.

        What was applied before this call comes from what the state keeps of it. A position ahead of
        this node, of an event that was seen on another, is waited for.

        Raises:
            EventsLost: what comes next after it is no longer kept.
        """
        return self._watches.open(after)

    def entries(self, from_index: int | None = None, *, limit: int = ENTRIES_MAX) -> RawPage:
        """A page of this node's log as far as it is applied; without *from_index* its newest.

        Raises:
            EntriesGone: the log begins later; says where.
        """
        return cut_out(
            self._engine.log,
            from_index=from_index,
            limit=limit,
            applied_index=self._engine.applied_index,
        )

    def status(self) -> ClusterStatus:
        """This node's own view of the cluster, now."""
        return self._view.now()

    @property
    def cluster_id(self) -> str:
        """Which cluster this is; empty until it has formed."""
        return self._engine.configuration.cluster_id

    def usage(self) -> Usage:
        """How much room this node's part takes."""
        return usage(self.machine, self._engine.log, self._storage)

    def cluster_now_ms(self) -> int:
        """Cluster time by now, as far as this node can tell; for telling ages by."""
        return self._view.cluster_now_ms()

    def _check_backlog(self, traffic: Traffic) -> None:
        """See whether this node, and the leader if it is one, can take on more.

        Raises:
            Overloaded: not of this class.
        """
        self._backlog.check(traffic)
        self._leading.backlog.check(traffic)
