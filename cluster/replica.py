"""The replica: what everything above knows of the cluster. It proposes, reads, watches, tells.

It owns batching, forwarding to the leader and the fate of every proposal; it knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from cluster.core.commands import Command
from cluster.core.model import Event
from cluster.core.queries import Query

R = TypeVar("R")
A = TypeVar("A")

PROPOSE_TIMEOUT_SECONDS = 5.0  # How long a write or a read waits for a leader.


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """How one node is reached and where it keeps its log."""

    node_id: str
    members: Mapping[str, str]  # Node id -> "host:port" of its Raft address, this node's included.
    data: Path
    http: str  # Where this node's gateway is reached: told to the others, never used here.
    raft_bind: str | None = None  # When the bind address is another than the advertised one.
    secret: bytes | None = None  # The cluster's shared secret.
    lease_seconds: float = 15.0


class Consistency(StrEnum):
    """How fresh a read must be."""

    LINEARIZABLE = "linearizable"
    STALE = "stale"


class Committed(NamedTuple, Generic[R]):
    """A reply, and the log index and term of the entry that carried the command."""

    reply: R
    index: int
    term: int


class Answered(NamedTuple, Generic[A]):
    """An answer, the index that it reflects, and how long ago this node last heard its leader."""

    value: A
    index: int
    term: int
    staleness_seconds: float  # 0 on a leader, infinity when no leader was ever heard.


class Role(StrEnum):
    """A node's part in the current term."""

    LEADER = "leader"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"


class MemberStatus(NamedTuple):
    """One member, as this node sees it."""

    id: str
    raft: str
    http: str | None  # None until it was heard.
    role: Role | None
    match_index: int | None  # Known to the leader alone.
    last_contact_seconds: float | None
    is_reachable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """This node's own view; it never needs a quorum. `state_hash` belongs to `applied_index`."""

    node_id: str
    role: Role
    term: int
    leader: str | None
    commit_index: int
    applied_index: int
    members: tuple[MemberStatus, ...]
    has_quorum: bool  # Leads with a majority answering, or follows a leader heard lately.
    state_hash: str
    cluster_time_ms: int
    version: str
    staleness_seconds: float = field(default=float("inf"))


class Replica:
    """One node's part of the replicated machine. Everything runs on the loop that started it."""

    @classmethod
    async def start(cls, settings: ReplicaSettings) -> Replica:
        """Recover from the data directory, bind, and join the others.

        Raises:
            StorageError: the data directory is damaged, foreign or not writable.
            ConfigurationError: the settings contradict each other.
            OSError: the Raft address cannot be bound.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """Hand leadership over if this node leads, then leave the loop clean."""
        raise NotImplementedError

    async def wait_failed(self) -> BaseException:
        """Wait for what must stop the process (a failed fsync, a foreign log): it never heals."""
        raise NotImplementedError

    async def propose(
        self, command: Command[R], *, timeout_seconds: float = PROPOSE_TIMEOUT_SECONDS
    ) -> Committed[R]:
        """Commit *command* through the leader, wherever it is, and return the machine's reply.

        Raises:
            NotCommitted: it did not and will not happen; safe to repeat.
            OutcomeUnknown: it may have happened; repeat it only with the same id.
        """
        raise NotImplementedError

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
        """
        raise NotImplementedError

    def watch(self) -> AsyncIterator[Event]:
        """Every event that this node applies from this call on, in order.

        Raises:
            QuorateError: the reader fell behind by more than the buffer holds.
        """
        raise NotImplementedError

    def status(self) -> ClusterStatus:
        """This node's own view of the cluster, now."""
        raise NotImplementedError
