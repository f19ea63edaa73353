"""A node's own view of its cluster: who leads, who is reachable, how far each one is.

It is looked up in what this node knows already: it asks nobody, and never needs a quorum.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from typing import NamedTuple

from cluster.core.machine import Machine
from cluster.raft.contract import Timing
from cluster.raft.driver import Driver
from cluster.raft.membership import Member
from cluster.settings import ReplicaSettings


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
    last_contact_seconds: float | None  # None if it was never heard.
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


class View:
    """What this node can say of the cluster."""

    def __init__(
        self, settings: ReplicaSettings, *, driver: Driver, machine: Machine, timing: Timing
    ) -> None:
        self._settings = settings
        self._driver = driver
        self._engine = driver.engine
        self._machine = machine
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._version = version("quorate")  # Read from a file.
        self._applied_at = self._loop.time()  # When the newest entry that has clocks was applied.

    def entry_applied(self) -> None:
        """Note that the machine's clocks have just moved."""
        self._applied_at = self._loop.time()

    def cluster_now_ms(self) -> int:
        """Cluster time as it is by now, as far as this node can tell: entries do not come evenly.

        It stands still while no leader is heard, as cluster time itself does.
        """
        elapsed_seconds = self._loop.time() - self._applied_at - self.staleness_seconds()
        return self._machine.cluster_time_ms + round(max(0.0, elapsed_seconds) * 1000)

    def now(self) -> ClusterStatus:
        """The cluster as this node sees it at this moment."""
        engine, machine = self._engine, self._machine
        return ClusterStatus(
            node_id=self._settings.node_id,
            role=self._role(),
            term=engine.term,
            leader=engine.leader,
            commit_index=engine.certain_index,
            applied_index=engine.applied_index,
            members=tuple(self._member(member) for member in engine.configuration.members),
            has_quorum=self._has_quorum(),
            state_hash=machine.state_hash.hex(),
            cluster_time_ms=machine.cluster_time_ms,
            version=self._version,
            staleness_seconds=self.staleness_seconds(),
        )

    def staleness_seconds(self) -> float:
        """How long ago this node last heard its leader; 0 on a leader, infinity if never."""
        return 0.0 if self._engine.is_leader else self._engine.leader_contact()

    def _role(self) -> Role:
        if self._engine.is_leader:
            return Role.LEADER
        return Role.CANDIDATE if self._engine.is_candidate else Role.FOLLOWER

    def _has_quorum(self) -> bool:
        engine, timing = self._engine, self._timing
        limit = timing.leader_fallback if engine.is_leader else timing.election_max
        return engine.is_formed and engine.leader is not None and engine.leader_contact() < limit

    def _member(self, member: Member) -> MemberStatus:
        id_, engine = member.id, self._engine
        raft = self._settings.members.get(id_, member.raft)
        role = Role.LEADER if id_ == engine.leader else Role.FOLLOWER
        if id_ == self._settings.node_id:
            index = engine.log.last_index
            return MemberStatus(id_, raft, self._settings.http, self._role(), index, 0.0, True)
        seen = self._driver.seen(id_)
        is_reachable = id_ in self._driver.mesh.links
        return MemberStatus(
            id=id_,
            raft=raft,
            http=None if seen is None else seen.http,
            role=role if is_reachable else None,
            match_index=engine.match_index(id_),
            last_contact_seconds=(
                None if seen is None else max(0.0, self._loop.time() - seen.heard_at)
            ),
            is_reachable=is_reachable,
        )
