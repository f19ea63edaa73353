"""pysyncobj's state under plain names: what it knows of log, term, leader and members.

It is a part of `stock.Stock` and changes nothing by itself; what pysyncobj does is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.raft.log import Log

Node = Any  # One of pysyncobj's, which only `stock.py` may import.

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2


class PrivateState:
    """Every private attribute of pysyncobj's that we lean on: looked for at start."""

    _SyncObj__connectedNodes: set[Node]
    _SyncObj__lastResponseTime: dict[Node, float]
    _SyncObj__newAppendEntriesTime: float
    _SyncObj__noopIDx: int  # None on a node that never led.
    _SyncObj__otherNodes: set[Node]
    _SyncObj__raftCommitIndex: int
    _SyncObj__raftCurrentTerm: int
    _SyncObj__raftLastApplied: int
    _SyncObj__raftLeader: Node | None
    _SyncObj__raftLog: Log
    _SyncObj__raftMatchIndex: dict[Node, int]
    _SyncObj__raftState: int


class PlainState(PrivateState):
    """The same, read and set by what it means."""

    clock: Callable[[], float]

    @property
    def log(self) -> Log:
        return self._SyncObj__raftLog

    @property
    def term(self) -> int:
        return self._SyncObj__raftCurrentTerm

    @property
    def is_leader(self) -> bool:
        return self._SyncObj__raftState == LEADER

    @property
    def is_candidate(self) -> bool:
        return self._SyncObj__raftState == CANDIDATE

    @property
    def leader(self) -> str | None:
        """Whom this node takes for the leader of its term."""
        node = self._SyncObj__raftLeader
        return None if node is None else str(node.id)

    @property
    def commit_index(self) -> int:
        return self._SyncObj__raftCommitIndex

    @property
    def applied_index(self) -> int:
        return self._SyncObj__raftLastApplied

    def has_applied_own_term(self) -> bool:
        """Whether the no-op of the term that this node leads is applied: all before it is too."""
        return self.applied_index >= self._SyncObj__noopIDx

    def applied(self, index: int) -> None:
        """Note that the entry at *index* is applied."""
        self._SyncObj__raftLastApplied = index

    def commit(self, index: int) -> None:
        """Note that the entries up to *index* are committed."""
        self._SyncObj__raftCommitIndex = max(self.commit_index, index)

    def jump(self, index: int) -> None:
        """Note that a snapshot brought the state to *index*, which is committed."""
        self._SyncObj__raftLastApplied = index
        self.commit(index)

    def forget_leader(self) -> None:
        """Name nobody as the leader; pysyncobj would go on naming one that is long gone."""
        self._SyncObj__raftLeader = None

    def replicate_soon(self) -> None:
        """Have the next tick call `replicate`."""
        self._SyncObj__newAppendEntriesTime = 0

    # Whom pysyncobj counts.

    def set_members(self, others: set[Node], linked: set[Node]) -> None:
        """The other members, and those that are linked."""
        for table, members in (
            (self._SyncObj__otherNodes, others),
            (self._SyncObj__connectedNodes, others & linked),
        ):
            table.clear()
            table.update(members)
        answered, matches = self._SyncObj__lastResponseTime, self._SyncObj__raftMatchIndex
        for node in others:
            answered.setdefault(node, self.clock())
            matches.setdefault(node, 0)
        for node in [node for node in answered if node not in others]:
            del answered[node]
        for node in [node for node in matches if node not in others]:
            del matches[node]

    def set_linked(self, node: Node, *, is_linked: bool) -> None:
        """Note whether the member *node* is linked."""
        if is_linked:
            self._SyncObj__connectedNodes.add(node)
        else:
            self._SyncObj__connectedNodes.discard(node)

    def set_match(self, node: Node, index: int) -> None:
        """Have *node* counted as holding the log up to *index*."""
        self._SyncObj__raftMatchIndex[node] = index

    def note_answer(self, node: Node) -> None:
        """Have *node* counted as having answered this leader now."""
        self._SyncObj__lastResponseTime[node] = self.clock()

    def answered_at(self) -> list[float]:
        """When each other member last answered, the latest first."""
        return sorted(self._SyncObj__lastResponseTime.values(), reverse=True)
