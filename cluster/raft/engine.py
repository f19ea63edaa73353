"""The consensus engine: pysyncobj 0.3.17 as a sans-I/O core, with the rules that make it safe.

It knows no socket, file or timer: messages go in by `receive`, come out by the hook `send`, and
`tick` does what the time asks for. Its driver makes what a tick appended durable before what the
tick sent may leave. Nothing else in Quorate imports pysyncobj, and every private name of it that we
lean on is listed in `_PRIVATE` and looked for at start.

pysyncobj by itself loses acknowledged writes; each override and each rule on a message says what
would go wrong without it. The numbers D1 … D19 are those of `docs/raft.md`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pysyncobj
import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from cluster.errors import BrokenPromise
from cluster.raft.log import Entry, Log

Message = dict[str, Any]

PYSYNCOBJ_VERSION = "0.3.17"
BATCH_BYTES = 4 * 1024 * 1024  # How much one append may carry, unless one entry alone is larger.
BATCH_ENTRIES = 1_024
FLIGHT_ENTRIES = 4_096  # How far a follower may be behind in what was sent to it unanswered.

REGULAR = b"\x00"  # The first byte of an entry that is ours; pysyncobj's own no-op has 1.
_FOLLOWER, _CANDIDATE, _LEADER = 0, 1, 2

_PRIVATE = (
    "_SyncObj__applyLogEntries",
    "_SyncObj__deleteEntriesFrom",
    "_SyncObj__generateRaftTimeout",
    "_SyncObj__getEntries",
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
    "_SyncObj__raftNextIndex",
    "_SyncObj__raftState",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. A follower that hears nothing for a random time between the two elects a leader."""

    election_min: float = 0.5
    election_max: float = 1.0
    heartbeat: float = 0.1
    leader_fallback: float = 1.0  # Without a majority's answers for this long, a leader stops.


class _Peer(Node):  # type: ignore[misc]  # pysyncobj ships no types.
    """A node whose hash is the same in every process, so that sets of them are in one order."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class _Outlet(Transport):  # type: ignore[misc]  # pysyncobj ships no types.
    """What pysyncobj takes for its network: hands every message to the engine's `send`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(None, None, [])
        self._engine = engine

    def send(self, node: _Peer, message: Message) -> bool:
        return self._engine.dispatch(node.id, message)


class _NoPoller:
    """pysyncobj polls file descriptors in a tick; we have none."""

    def poll(self, timeout: float) -> None:
        """Nothing to wait for."""


class EngineHooks:
    """What the engine asks of its owner. All are called inside `receive` or `tick`."""

    def send(self, peer: str, message: Message) -> bool:
        """Queue *message* for *peer*, behind the log; False if there is no link to it."""
        raise NotImplementedError

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        """Apply one committed entry; None is an entry of pysyncobj's own. Must not raise."""
        raise NotImplementedError

    def is_congested(self, peer: str) -> bool:
        """Whether *peer* takes less than it is given."""
        raise NotImplementedError


class Engine(SyncObj):  # type: ignore[misc]  # pysyncobj ships no types.
    """One member's consensus state. All of it runs on one thread, between two turns of a loop."""

    _SyncObj__raftLeader: Node | None
    _SyncObj__newAppendEntriesTime: float
    _SyncObj__raftElectionDeadline: float

    def __init__(
        self,
        *,
        node_id: str,
        peers: Iterable[str],
        log: Log,
        hooks: EngineHooks,
        timing: Timing,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        check_pysyncobj()
        pysyncobj.syncobj.monotonicTime = clock
        pysyncobj.syncobj.random = _RandomSource(random)
        self.node_id = node_id
        self.timing = timing
        self._clock = clock
        self._random = random
        self._hooks = hooks
        self._peers = {peer: _Peer(peer) for peer in sorted(peers)}
        self._votes_seen: set[tuple[int, str]] = set()
        self._grants: set[str] = set()
        self._prevote_term = 0  # The term that an open pre-vote asks for; 0 when none is open.
        self._leader_heard_at = float("-inf")
        self._keep_tail = False
        self._sent_commit = 0
        self.apply_until: Callable[[], int] | None = None  # A bound on what may be applied now.
        self.round = 0  # ReadIndex: the newest round that this leader began.
        self._round_echo = 0  # The newest round this follower heard from its leader.
        self._round_acks: dict[str, int] = {}
        super().__init__(
            _Peer(node_id),
            list(self._peers.values()),
            SyncObjConf(
                autoTick=False,
                journalFile=log,
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
        # One that just woke has no reason to wait for a leader: it asks around soon, which a
        # cluster that has one does not mind.
        soon = timing.heartbeat * (1 + random())
        self._SyncObj__raftElectionDeadline = clock() + soon
        for name in _PRIVATE_STATE:
            assert hasattr(self, name), f"pysyncobj has no {name}"

    # What the driver and the replica see.

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

    @property
    def last_index(self) -> int:
        return self.log[-1][1]

    @property
    def is_serving(self) -> bool:
        """Whether this node leads and has applied an entry of its own term (Raft, §8)."""
        return self.is_leader and self.applied_index >= self._SyncObj__noopIDx

    @property
    def quorum(self) -> int:
        """How many members, this one included, make a majority."""
        return (len(self._peers) + 1) // 2 + 1

    def match_index(self, peer: str) -> int | None:
        """How far *peer* is known to hold the leader's log; None on a follower."""
        if not self.is_leader:
            return None
        return int(self._SyncObj__raftMatchIndex.get(self._peers[peer], 0))

    def leader_contact(self) -> float:
        """Seconds since a leader was heard; on a leader, since a majority last answered it."""
        if not self.is_leader:
            return self._clock() - self._leader_heard_at
        if not self._peers:
            return 0.0
        answers = sorted(self._SyncObj__lastResponseTime.values(), reverse=True)
        return float(max(0.0, self._clock() - answers[self.quorum - 2]))

    def append(self, command: bytes) -> tuple[int, int]:
        """Add *command* to the leader's log; its fate is told by `apply`.

        Returns:
            Its index and term: whatever is applied at that index with another term is not it.
        """
        assert self.is_leader, "only a leader appends"
        index, term = self.last_index + 1, self.term
        self.log.add(REGULAR + command, index, term)
        return index, term

    def begin_round(self) -> int:
        """Ask every follower whether this node still leads; the answer is `confirmed_round`."""
        self.round += 1
        self._SyncObj__sendAppendEntries()
        return self.round

    @property
    def confirmed_round(self) -> int:
        """The newest round that a majority has echoed (Raft dissertation, §6.4)."""
        if not self._peers:
            return self.round
        acks = sorted((self._round_acks.get(peer, 0) for peer in self._peers), reverse=True)
        return acks[self.quorum - 2]

    def tick(self) -> None:
        """Do what the time asks for, count votes and acknowledgements, apply what is committed."""
        self._mind_the_election()
        self.doTick(0)
        if not self.is_leader:
            return
        if self.commit_index > self._sent_commit:
            # Followers learn of a commit at once, not with the next heartbeat.
            self._SyncObj__sendAppendEntries()
            return
        for peer, node in self._peers.items():
            if self._lacks_entries(peer, node):
                self._replicate_to(peer, node)

    # Links.

    def link_up(self, peer: str) -> None:
        """Note that messages reach *peer* again; what was in flight before is lost."""
        node = self._peers[peer]
        self._SyncObj__connectedNodes.add(node)
        if self.is_leader:
            match = self._SyncObj__raftMatchIndex[node]
            if match:
                self._SyncObj__raftNextIndex[node] = match + 1
            self._SyncObj__newAppendEntriesTime = 0

    def link_down(self, peer: str) -> None:
        """Note that the link to *peer* broke; if it was the leader's, look for another soon."""
        self._SyncObj__connectedNodes.discard(self._peers[peer])
        if peer == self.leader and not self.is_leader:
            # A closed link is most often a dead process: ask around after a short, random while.
            # Pre-votes make this harmless when it is not (RabbitMQ's ra does the same).
            self._leader_heard_at = float("-inf")
            soon = self._clock() + 0.05 * self._random()
            self._SyncObj__raftElectionDeadline = min(self._SyncObj__raftElectionDeadline, soon)

    # Messages out.

    def dispatch(self, peer: str, message: Message) -> bool:
        """Send *message* with what every message carries: the sender's term (D13)."""
        message["from_term"] = self.term
        if message["type"] == "append_entries":
            message["round"] = self.round
        elif message["type"] == "next_node_idx":
            message["round"] = self._round_echo
        return self._hooks.send(peer, message)

    # Messages in.

    def receive(self, peer: str, message: Message) -> None:
        """Take one message from *peer*, rewritten or refused where pysyncobj would go wrong."""
        handler = _RULES.get(message["type"])
        if handler is None:
            return  # Forwarding (D8), stock transfers, chunked commands (D18): not here.
        if handler(self, peer, message):
            self._SyncObj__onMessageReceived(self._peers[peer], message)

    def _rule_append(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        self._leader_heard_at = self._clock()
        self._prevote_term = 0
        self._round_echo = message["round"]
        message["entries"] = [tuple(entry) for entry in message["entries"]]
        self._strip_matching_prefix(message)
        return True

    def _strip_matching_prefix(self, message: Message) -> None:
        """Leave only entries that are new here, so that nothing acknowledged is truncated (D2).

        pysyncobj deletes all that follows `prevLogIdx`, matching or not; a delayed append would so
        remove entries that a majority counts on. It also commits up to its own last entry, even
        where the leader has not vouched for it (Raft, figure 2: the index of the last new entry).
        """
        self._keep_tail = False
        log, entries = self.log, message["entries"]
        first, last = log[0][1], log[-1][1]
        previous, previous_term = message["prevLogIdx"], message["prevLogTerm"]
        vouched = previous + len(entries)
        if previous > last or previous < first or log[previous - first][2] != previous_term:
            return  # pysyncobj answers with a reset and truncates nothing.
        known = 0
        for _, index, term in entries:
            if index > last or log[index - first][2] != term:
                break
            known, previous, previous_term = known + 1, index, term
        message["entries"] = new = entries[known:]
        message["prevLogIdx"], message["prevLogTerm"] = previous, previous_term
        message["commit_index"] = min(message["commit_index"], vouched)
        self._keep_tail = not new  # All of it matched: a longer tail of ours contradicts nothing.
        if new and previous < self.commit_index:
            raise BrokenPromise(
                f"the leader of term {message['term']} contradicts entry {previous + 1}, "
                f"though entries up to {self.commit_index} are committed"
            )

    def _rule_ack(self, peer: str, message: Message) -> bool:
        if message["from_term"] != self.term or not self.is_leader:
            return False  # pysyncobj's acknowledgements carry no term (D13).
        node = self._peers[peer]
        self._round_acks[peer] = max(self._round_acks.get(peer, 0), message["round"])
        match = self._SyncObj__raftMatchIndex[node]
        next_index = self._SyncObj__raftNextIndex[node]
        if message["reset"]:
            # An old reset must not lead below what was acknowledged in this term (D2).
            message["next_node_idx"] = max(message["next_node_idx"], match + 1)
            self._SyncObj__newAppendEntriesTime = 0
        self._SyncObj__onMessageReceived(node, message)
        if not message["reset"]:
            # pysyncobj goes back on every pipelined acknowledgement and sends all again (D2).
            self._SyncObj__raftNextIndex[node] = max(next_index, self._SyncObj__raftNextIndex[node])
        return False

    def _rule_vote_request(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        # A voter that lately heard its leader does not help to depose it (dissertation, §4.2.3).
        return not self._hears_a_leader()

    def _rule_vote(self, peer: str, message: Message) -> bool:
        vote = (message["from_term"], peer)
        if vote in self._votes_seen:
            return False  # pysyncobj counts messages, not voters (D13).
        self._votes_seen.add(vote)
        return True

    def _rule_stale_term(self, _peer: str, message: Message) -> bool:
        if message["from_term"] > self.term:
            self._step_down(message["from_term"])
        return False

    def _answer_stale(self, peer: str) -> None:
        """Tell a sender of an old term that it is old; pysyncobj leaves it in the dark (D12)."""
        self.dispatch(peer, {"type": "stale_term"})

    def _step_down(self, term: int) -> None:
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = None
        self._SyncObj__raftElectionDeadline = self._clock() + self._SyncObj__generateRaftTimeout()

    # Elections: pre-vote with stickiness (Raft dissertation, §9.6 and §4.2.3).

    def _hears_a_leader(self) -> bool:
        return self.is_leader or self._clock() - self._leader_heard_at < self.timing.election_min

    def _mind_the_election(self) -> None:
        """When the deadline passes, ask around first; pysyncobj would raise its term at once."""
        if self.is_leader or self._SyncObj__raftElectionDeadline > self._clock():
            return
        self._SyncObj__raftElectionDeadline = self._clock() + self._SyncObj__generateRaftTimeout()
        self._SyncObj__raftLeader = None  # pysyncobj would go on naming one that is long gone.
        self._prevote_term = self.term + 1
        self._grants = {self.node_id}
        for peer in self._peers:
            self.dispatch(
                peer,
                {
                    "type": "pre_vote",
                    "term": self._prevote_term,
                    "last_log_index": self.last_index,
                    "last_log_term": self.log[-1][2],
                },
            )
        self._campaign_if_granted()

    def _rule_pre_vote(self, peer: str, message: Message) -> bool:
        mine = (self.log[-1][2], self.last_index)
        theirs = (message["last_log_term"], message["last_log_index"])
        if message["term"] <= self.term:
            self._answer_stale(peer)
        elif theirs >= mine and not self._hears_a_leader():
            self.dispatch(peer, {"type": "pre_vote_granted", "term": message["term"]})
        return False

    def _rule_pre_vote_granted(self, peer: str, message: Message) -> bool:
        if message["term"] == self._prevote_term == self.term + 1:
            self._grants.add(peer)
            self._campaign_if_granted()
        return False

    def _campaign_if_granted(self) -> None:
        if len(self._grants) >= self.quorum:
            self._prevote_term = 0
            self._SyncObj__raftElectionDeadline = 0  # The tick that follows holds the election.
            self.doTick(0)

    # Overrides of pysyncobj's own methods.

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802 - pysyncobj's name
        """Apply what is committed and on this disk; a failure surfaces, never repeats (D6, D7)."""
        log, applied = self.log, self.applied_index
        until = self.commit_index
        if self.apply_until is not None:
            until = min(until, self.apply_until())
        first = log[0][1]
        if applied + 1 < first:
            raise BrokenPromise(f"the state ends at {applied}, but the log begins at {first}")
        for command, index, term in log[applied + 1 - first : until + 1 - first]:
            self._hooks.apply(index, term, command[1:] if command[:1] == REGULAR else None)
            self._SyncObj__raftLastApplied = index
        return False

    def _SyncObj__deleteEntriesFrom(self, index: int) -> None:  # noqa: N802 - pysyncobj's name
        """Truncate on a real conflict only (D2)."""
        if not self._keep_tail:
            self.log.deleteEntriesFrom(index - self.log[0][1])

    def _SyncObj__sendNextNodeIdx(  # noqa: N802 - pysyncobj's name
        self,
        node: _Peer,
        reset: bool = False,
        nextNodeIdx: int | None = None,  # noqa: N803 - pysyncobj's signature
        success: bool = False,
    ) -> None:
        """Answer an append; on a mismatch go straight to what must match, not one back (D11)."""
        if reset:
            nextNodeIdx = max(self.commit_index, self.log[0][1]) + 1  # noqa: N806 - as above
        elif nextNodeIdx is None:
            nextNodeIdx = self.last_index + 1  # noqa: N806 - as above
        self.dispatch(
            node.id,
            {
                "type": "next_node_idx",
                "next_node_idx": nextNodeIdx,
                "reset": reset,
                "success": success,
            },
        )

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802 - pysyncobj's name
        """Send every follower what it lacks, bounded; or, lacking nothing, a sign of life."""
        self._SyncObj__newAppendEntriesTime = self._clock() + self.timing.heartbeat
        self._sent_commit = self.commit_index
        for peer, node in self._peers.items():
            if node in self._SyncObj__connectedNodes:
                self._replicate_to(peer, node)

    def _replicate_to(self, peer: str, node: _Peer) -> None:
        log = self.log
        first = log[0][1]
        next_index = max(self._SyncObj__raftNextIndex[node], first + 1)
        entries: list[Entry] = []
        if self._lacks_entries(peer, node):
            start = next_index - first
            entries = _take_bytes(log[start : start + BATCH_ENTRIES], BATCH_BYTES)
        self.dispatch(
            peer,
            {
                "type": "append_entries",
                "term": self.term,
                "commit_index": self.commit_index,
                "prevLogIdx": next_index - 1,
                "prevLogTerm": log[next_index - 1 - first][2],
                "entries": entries,
            },
        )
        self._SyncObj__raftNextIndex[node] = next_index + len(entries)

    def _lacks_entries(self, peer: str, node: _Peer) -> bool:
        """Whether *peer* lacks entries and may be sent some now; its answers pace the rest."""
        next_index = self._SyncObj__raftNextIndex[node]
        return (
            next_index <= self.last_index
            and node in self._SyncObj__connectedNodes
            and next_index - self._SyncObj__raftMatchIndex[node] < FLIGHT_ENTRIES
            and not self._hooks.is_congested(peer)
        )

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802 - pysyncobj's name
        self._round_acks.clear()
        super()._SyncObj__onBecomeLeader()
        self._votes_seen.clear()

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802 - pysyncobj's name
        """Never: we compact, on our own terms."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: ARG002, N802, N803
        raise AssertionError("pysyncobj never reads or writes a snapshot here")


def check_pysyncobj() -> None:
    """Fail at once where the installed pysyncobj is not the one whose inside we know."""
    assert VERSION == PYSYNCOBJ_VERSION, (
        f"pysyncobj {VERSION} is installed; Quorate leans on the inside of {PYSYNCOBJ_VERSION}"
    )
    for name in _PRIVATE:
        assert hasattr(SyncObj, name), f"pysyncobj has no {name}"


class _RandomSource:
    """What pysyncobj takes for the `random` module; it calls only `random()`."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.random = random


def _take_bytes(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """The longest head of *entries* within *bytes_max*, but never none."""
    total = 0
    for count, entry in enumerate(entries):
        total += len(entry[0])
        if total > bytes_max and count:
            return entries[:count]
    return entries


_RULES: dict[str, Callable[[Engine, str, Message], bool]] = {
    "append_entries": Engine._rule_append,
    "next_node_idx": Engine._rule_ack,
    "request_vote": Engine._rule_vote_request,
    "response_vote": Engine._rule_vote,
    "stale_term": Engine._rule_stale_term,
    "pre_vote": Engine._rule_pre_vote,
    "pre_vote_granted": Engine._rule_pre_vote_granted,
}

# pysyncobj makes its journal from a file name; we hand it ours instead.
_stock_create_journal = pysyncobj.syncobj.createJournal
pysyncobj.syncobj.createJournal = lambda journal: (
    journal if isinstance(journal, Log) else _stock_create_journal(journal)
)
