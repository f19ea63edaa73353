"""pysyncobj 0.3.17, tamed: driven by plain names, its side doors closed.

Nothing else in Quorate imports pysyncobj. Every private name of it that we lean on is listed here
or annotated in `plain.py`, and looked for at start. What it would do by itself and must not —
resolve names, open files, poll descriptors, compact, forward commands — has no way out of here;
what it must do differently are `Rules`, which `engine.py` and the modules beneath it fill in.
"""

from __future__ import annotations

import logging
import math
import zlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

import pysyncobj
import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from cluster.raft.contract import EngineSettings, Message
from cluster.raft.log import Log
from cluster.raft.plain import CANDIDATE, FOLLOWER, LEADER, PlainState, PrivateState

PYSYNCOBJ_VERSION = "0.3.17"


def _is_true(record: logging.LogRecord) -> bool:
    """Whether what pysyncobj says holds for us.

    It takes every append that came late for one that truncates what was applied. Ours truncates
    only on a conflict, and one with what is committed stops the node (`following.py`).
    """
    return not str(record.msg).startswith("truncating already-applied")


logging.getLogger("pysyncobj.syncobj").addFilter(_is_true)

_PRIVATE_METHODS = (
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
    "_checkCommandsToApply",
)


class Peer(Node):
    """A node whose hash is the same in every process, so that sets of them are in one order."""

    def __init__(self, node_id: str) -> None:
        super().__init__(node_id)
        self._hash = zlib.crc32(node_id.encode())  # Once: pysyncobj looks nodes up all the time.

    def __hash__(self) -> int:
        return self._hash


class Rules(Protocol):
    """What pysyncobj must do differently. All are called inside `doTick` or `process`."""

    @abstractmethod
    def dispatch(self, peer: str, message: Message, *, is_urgent: bool = False) -> bool:
        """Send *message* to *peer*; if not urgent, behind what the log has yet to make durable."""

    @abstractmethod
    def replicate(self) -> None:
        """Send every follower what it lacks, or a sign of life."""

    @abstractmethod
    def answer(self, peer: str, next_index: int | None) -> None:
        """Answer an append: all before *next_index* is held; None: it does not fit the log."""

    @abstractmethod
    def truncate(self, index: int) -> None:
        """Drop the entries from *index* on, if they really conflict (D2)."""

    @abstractmethod
    def campaigns(self) -> None:
        """Note that an election begins: votes of an earlier one do not count in it."""

    @abstractmethod
    def elected(self) -> None:
        """Note that this node is about to lead; pysyncobj's no-op is appended next."""

    @abstractmethod
    def follows(self) -> None:
        """Note that this node does not lead, or no longer."""


class Stock(PlainState, SyncObj, Rules):
    """pysyncobj's consensus state, driven from outside: `doTick` and messages, nothing else."""

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
        for name in PrivateState.__annotations__:
            assert hasattr(self, name), f"pysyncobj has no {name}"
        assert self.election_deadline < math.inf, "pysyncobj has set no raftElectionDeadline"
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = settings.start.index

    # What pysyncobj is made to do.

    def look_for_leader_at(self, when: float) -> None:
        """Set the election deadline."""
        self.election_deadline = when

    def look_for_leader_later(self) -> None:
        """Set the election deadline a random timeout from now."""
        timeout = float(self._SyncObj__generateRaftTimeout())
        self.election_deadline = self.clock() + timeout

    def follow(self, node: Node) -> None:
        """Name *node* as the leader, and wait for a timeout before looking for another."""
        self._SyncObj__raftLeader = node
        self.look_for_leader_later()

    def step_down(self, term: int) -> None:
        """Follow nobody yet, in *term* or the own one if that is newer."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(FOLLOWER)
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

    def process(self, node: Node, message: Message) -> None:
        """Let pysyncobj take *message*, which has been made safe."""
        self._SyncObj__onMessageReceived(node, message)

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
        if state == CANDIDATE:
            self.campaigns()
        if state != LEADER:
            self.follows()
        super()._SyncObj__setState(state)

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802 - pysyncobj's name
        """Never: we compact, on our own terms."""

    def _checkCommandsToApply(self) -> None:  # noqa: N802 - pysyncobj's name
        """Nothing: commands are appended by ourselves, never queued in pysyncobj (D8)."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: ARG002, N802, N803
        raise AssertionError("pysyncobj never reads or writes a snapshot here")


class _Outlet(Transport):
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
    for name in _PRIVATE_METHODS:
        assert hasattr(SyncObj, name), f"pysyncobj has no {name}"


# pysyncobj makes its journal from a file name; we hand it ours instead.
_stock_create_journal = pysyncobj.syncobj.createJournal
pysyncobj.syncobj.createJournal = lambda journal: (
    journal if isinstance(journal, Log) else _stock_create_journal(journal)
)
