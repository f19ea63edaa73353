"""pysyncobj 0.3.17, tamed: its state under plain names, its side doors closed.

Nothing else in Quorate imports pysyncobj. Every private name of it that we lean on is listed here
and looked for at start. What it would do by itself and must not — resolve names, open files, poll
descriptors, compact, forward commands — has no way out of here; what it must do differently is a
method for `engine.py` and the modules beneath it to fill in.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import pysyncobj
import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from cluster.raft.contract import EngineSettings, Message
from cluster.raft.log import Log

PYSYNCOBJ_VERSION = "0.3.17"
_FOLLOWER, _CANDIDATE, _LEADER = 0, 1, 2

_PRIVATE = (
    "_SyncObj__applyLogEntries",
    "_SyncObj__deleteEntriesFrom",
    "_SyncObj__generateRaftTimeout",
    "_SyncObj__loadDumpFile",
    "_SyncObj__onBecomeLeader",
    "_SyncObj__onMessageReceived",
    "_SyncObj__sendAppendEntries",
    "_SyncObj__sendNextNodeIdx",
    "_SyncObj__setCurrentTerm",
    "_SyncObj__setState",
    "_SyncObj__tryLogCompaction",
)
_PRIVATE_STATE = (
    "_SyncObj__connectedNodes",
    "_SyncObj__lastResponseTime",
    "_SyncObj__newAppendEntriesTime",
    "_SyncObj__noopIDx",
    "_SyncObj__otherNodes",
    "_SyncObj__raftCommitIndex",
    "_SyncObj__raftCurrentTerm",
    "_SyncObj__raftElectionDeadline",
    "_SyncObj__raftLastApplied",
    "_SyncObj__raftLeader",
    "_SyncObj__raftLog",
    "_SyncObj__raftMatchIndex",
    "_SyncObj__raftState",
)


class Peer(Node):  # type: ignore[misc]  # pysyncobj ships no types.
    """A node whose hash is the same in every process, so that sets of them are in one order."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class Stock(SyncObj):  # type: ignore[misc]  # pysyncobj ships no types.
    """pysyncobj's consensus state, driven from outside: `doTick` and messages, nothing else."""

    _SyncObj__raftLeader: Node | None
    _SyncObj__newAppendEntriesTime: float

    def __init__(self, settings: EngineSettings) -> None:
        check_pysyncobj()
        pysyncobj.syncobj.monotonicTime = settings.clock
        pysyncobj.syncobj.random = _RandomSource(settings.random)
        self.node_id = settings.node_id
        self.timing = timing = settings.timing
        self.clock = settings.clock
        self.election_deadline = math.inf  # When this node looks for a leader, if it hears none.
        self._is_electing = False
        super().__init__(
            Peer(settings.node_id),
            [],
            SyncObjConf(
                autoTick=False,
                journalFile=settings.log,
                raftMinTimeout=timing.election_min,
                raftMaxTimeout=timing.election_max,
                appendEntriesPeriod=timing.heartbeat,
                leaderFallbackTimeout=timing.leader_fallback,
                connectionTimeout=timing.election_max * 10,  # Unused: links are watched by us.
                appendEntriesUseBatch=True,
                appendEntriesBatchSizeBytes=1 << 40,  # Never: chunked commands are D18.
                logCompactionMinEntries=1 << 40,  # Never: we compact, on our own terms.
                logCompactionMinTime=1 << 40,
                dynamicMembershipChange=False,  # D3: membership is a command of ours.
            ),
            transport=_Outlet(self),
        )
        self._poller = _NoPoller()
        for name in _PRIVATE_STATE:
            assert hasattr(self, name), f"pysyncobj has no {name}"
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = settings.start.index

    # For the modules above to fill in. All are called inside `doTick` or `process`.

    def dispatch(self, peer: str, message: Message) -> bool:
        """Send *message* to *peer*, behind what the log has yet to make durable."""
        raise NotImplementedError

    def replicate(self) -> None:
        """Send every follower what it lacks, or a sign of life."""
        raise NotImplementedError

    def answer(self, peer: str, next_index: int | None) -> None:
        """Answer an append: all before *next_index* is held; None: it does not fit the log."""
        raise NotImplementedError

    def truncate(self, index: int) -> None:
        """Drop the entries from *index* on, if they really conflict (D2)."""
        raise NotImplementedError

    def campaigns(self) -> None:
        """Note that an election begins: votes of an earlier one do not count in it."""
        raise NotImplementedError

    def elected(self) -> None:
        """Note that this node is about to lead; pysyncobj's no-op is appended next."""
        raise NotImplementedError

    def follows(self) -> None:
        """Note that this node does not lead, or no longer."""
        raise NotImplementedError

    # pysyncobj's state, by plain names.

    @property
    def log(self) -> Log:
        log: Log = self._SyncObj__raftLog
        return log

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def is_leader(self) -> bool:
        return bool(self._SyncObj__raftState == _LEADER)

    @property
    def is_candidate(self) -> bool:
        return bool(self._SyncObj__raftState == _CANDIDATE)

    @property
    def leader(self) -> str | None:
        """Whom this node takes for the leader of its term."""
        node = self._SyncObj__raftLeader
        return None if node is None else str(node.id)

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    def has_applied_own_term(self) -> bool:
        """Whether the no-op of the term that this node leads is applied: all before it is too."""
        return self.applied_index >= int(self._SyncObj__noopIDx)

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

    def look_for_leader_at(self, when: float) -> None:
        """Set the election deadline."""
        self.election_deadline = when

    def look_for_leader_later(self) -> None:
        """Set the election deadline a random timeout from now."""
        timeout = float(self._SyncObj__generateRaftTimeout())
        self.election_deadline = self.clock() + timeout

    def forget_leader(self) -> None:
        """Name nobody as the leader; pysyncobj would go on naming one that is long gone."""
        self._SyncObj__raftLeader = None

    def follow(self, node: Node) -> None:
        """Name *node* as the leader, and wait for a timeout before looking for another."""
        self._SyncObj__raftLeader = node
        self.look_for_leader_later()

    def step_down(self, term: int) -> None:
        """Follow nobody yet, in *term* or the own one if that is newer."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(_FOLLOWER)
        self.forget_leader()
        self.look_for_leader_later()

    def hold_election(self) -> None:
        """Raise the term and ask for votes, now."""
        self._is_electing = True
        try:
            self.doTick(0)
        finally:
            self._is_electing = False

    def lead(self) -> None:
        """Begin to lead: enough votes are there."""
        self._SyncObj__onBecomeLeader()

    def replicate_soon(self) -> None:
        """Have the next tick call `replicate`."""
        self._SyncObj__newAppendEntriesTime = 0

    def process(self, node: Node, message: Message) -> None:
        """Let pysyncobj take *message*, which has been made safe."""
        self._SyncObj__onMessageReceived(node, message)

    # Whom pysyncobj counts.

    def set_members(self, others: set[Node], linked: set[Node]) -> None:
        """The other members, and those that are linked."""
        for table, members in (
            (self._SyncObj__otherNodes, others),
            (self._SyncObj__connectedNodes, others & linked),
        ):
            table.clear()
            table.update(members)
        for node in others:
            self._SyncObj__lastResponseTime.setdefault(node, self.clock())
            self._SyncObj__raftMatchIndex.setdefault(node, 0)
        for by_node in (self._SyncObj__lastResponseTime, self._SyncObj__raftMatchIndex):
            for node in [node for node in by_node if node not in others]:
                del by_node[node]

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

    # What pysyncobj calls.

    @property
    def _SyncObj__raftElectionDeadline(self) -> float:  # noqa: N802 - pysyncobj's name
        """Never, but in `hold_election`: a deadline that passed would raise the term unasked."""
        return 0.0 if self._is_electing else math.inf

    @_SyncObj__raftElectionDeadline.setter
    def _SyncObj__raftElectionDeadline(self, when: float) -> None:  # noqa: N802 - as above
        self.election_deadline = when

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802 - pysyncobj's name
        """Nothing: entries are applied by our driver, after what was appended is on its way."""
        return False

    def _SyncObj__deleteEntriesFrom(self, index: int) -> None:  # noqa: N802 - pysyncobj's name
        self.truncate(index)

    def _SyncObj__sendNextNodeIdx(  # noqa: N802 - pysyncobj's name
        self,
        node: Node,
        reset: bool = False,
        nextNodeIdx: int | None = None,  # noqa: N803 - pysyncobj's signature
        success: bool = False,  # noqa: ARG002 - pysyncobj's signature
    ) -> None:
        next_index = self.log.last_index + 1 if nextNodeIdx is None else nextNodeIdx
        self.answer(node.id, None if reset else next_index)

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802 - pysyncobj's name
        self._SyncObj__newAppendEntriesTime = self.clock() + self.timing.heartbeat
        self.replicate()

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802 - pysyncobj's name
        self.elected()
        super()._SyncObj__onBecomeLeader()

    def _SyncObj__setState(self, state: int) -> None:  # noqa: N802 - pysyncobj's name
        if state == _CANDIDATE:
            self.campaigns()
        if state != _LEADER:
            self.follows()
        super()._SyncObj__setState(state)

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802 - pysyncobj's name
        """Never: we compact, on our own terms."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: ARG002, N802, N803
        raise AssertionError("pysyncobj never reads or writes a snapshot here")


class _Outlet(Transport):  # type: ignore[misc]  # pysyncobj ships no types.
    """What pysyncobj takes for its network: hands every message to `dispatch`."""

    def __init__(self, stock: Stock) -> None:
        super().__init__(None, None, [])
        self._stock = stock

    def send(self, node: Node, message: Message) -> bool:
        return self._stock.dispatch(node.id, message)


class _NoPoller:
    """pysyncobj polls file descriptors in a tick; we have none."""

    def poll(self, timeout: float) -> None:
        """Nothing to wait for."""


class _RandomSource:
    """What pysyncobj takes for the `random` module; it calls only `random()`."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.random = random


def check_pysyncobj() -> None:
    """Fail at once where the installed pysyncobj is not the one whose inside we know."""
    assert VERSION == PYSYNCOBJ_VERSION, (
        f"pysyncobj {VERSION} is installed; Quorate leans on the inside of {PYSYNCOBJ_VERSION}"
    )
    for name in _PRIVATE:
        assert hasattr(SyncObj, name), f"pysyncobj has no {name}"


# pysyncobj makes its journal from a file name; we hand it ours instead.
_stock_create_journal = pysyncobj.syncobj.createJournal
pysyncobj.syncobj.createJournal = lambda journal: (
    journal if isinstance(journal, Log) else _stock_create_journal(journal)
)
