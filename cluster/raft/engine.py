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
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pysyncobj
import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from cluster.crashpoints import reach
from cluster.errors import BrokenPromise
from cluster.raft.log import Entry, Log
from cluster.raft.membership import Configuration, Member, Stage, unpack
from cluster.raft.progress import Progress, Roster

Message = dict[str, Any]

PYSYNCOBJ_VERSION = "0.3.17"
BATCH_BYTES = 4 * 1024 * 1024  # How much one append may carry, unless one entry alone is larger.
BATCH_ENTRIES = 1_024
FLIGHT_ENTRIES = 4_096  # How far a follower may be behind in what was sent to it unanswered.

_TURN_SECONDS = 0.03  # Between two survivors of a leader asking around for votes.
APPLY_SECONDS = 0.02  # How long one turn of the loop may apply entries.

REGULAR = b"\x00"  # The first byte of an entry that is the machine's; pysyncobj's no-op has 1.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. A follower that hears nothing for a random time between the two elects a leader."""

    election_min: float = 0.5
    election_max: float = 1.0
    heartbeat: float = 0.1
    leader_fallback: float = 1.0  # Without a majority's answers for this long, a leader stops.


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a member goes on: its newest snapshot's place, and the members known by then."""

    configuration: Configuration
    index: int = 1  # pysyncobj's logs all begin with the same first entry.


class EngineHooks:
    """What the engine asks of its owner. All are called inside `receive` or `tick`."""

    def send(self, peer: str, message: Message, *, is_urgent: bool) -> None:
        """Queue *message* for *peer* behind the log; an urgent one claims nothing of the log."""
        raise NotImplementedError

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        """Apply one committed entry; None is one that is not the machine's. Must not raise."""
        raise NotImplementedError

    def is_congested(self, peer: str) -> bool:
        """Whether *peer* takes less than it is given."""
        raise NotImplementedError

    def needs_snapshot(self, peer: str) -> None:
        """Tell that *peer* lacks entries that the log no longer has. Repeated while it does."""
        raise NotImplementedError

    def configured(self, configuration: Configuration) -> None:
        """Tell that *configuration* is in effect from now on, until another is."""
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
        incarnation: str,
        start: Start,
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
        self.incarnation = incarnation
        self.timing = timing
        self.configuration = self._base = start.configuration
        self.apply_until: Callable[[], int] | None = None  # A bound on what may be applied now.
        self.round = 0  # ReadIndex: the newest round that this leader began.
        self._clock = clock
        self._hooks = hooks
        self._roster = Roster(node_id, _Peer)
        self._votes: set[str] = set()
        self._grants: set[str] = set()
        self._prevote_term = 0  # The term that an open pre-vote asks for; 0 when none is open.
        self._is_forced = False  # The next election was asked for by the leader itself.
        self._transfer_to: str | None = None
        self._transfer_until = 0.0
        self._leader_heard_at = float("-inf")
        self._keep_tail = False
        self._sent_commit = 0
        super().__init__(
            _Peer(node_id),
            [],
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
        for name in _PRIVATE_STATE:
            assert hasattr(self, name), f"pysyncobj has no {name}"
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = start.index
        # One that just woke has no reason to wait for a leader: it asks around soon, which a
        # cluster that has one does not mind.
        self._SyncObj__raftElectionDeadline = clock() + timing.heartbeat * (1 + random())
        self._adopt_configuration()

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
    def is_member(self) -> bool:
        """Whether this node's own vote counts."""
        return self.configuration.counts(self.node_id, self.incarnation)

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
    def is_serving(self) -> bool:
        """Whether this node leads a formed cluster and has applied an entry of its own term.

        Before that it does not know what is committed (Raft, §8). One that is handing leadership
        over takes nothing more in.
        """
        return (
            self.is_leader
            and self.applied_index >= self._SyncObj__noopIDx
            and self.configuration.stage is Stage.FORMED
            and self._transfer_to is None
        )

    def has_confirmed(self, round_number: int) -> bool:
        """Whether a majority has echoed that round or a later one (dissertation, §6.4)."""
        reached = self._roster.reached_by(self.configuration, self.round, lambda p: p.round)
        return reached >= round_number

    def match_index(self, peer: str) -> int | None:
        """How far *peer* is known to hold the leader's log; None on a follower."""
        progress = self._roster.get(peer)
        return progress.match_index if self.is_leader and progress is not None else None

    def leader_contact(self) -> float:
        """Seconds since a leader was heard; on a leader, since a majority last answered it."""
        if not self.is_leader:
            return self._clock() - self._leader_heard_at
        answers = sorted(self._SyncObj__lastResponseTime.values(), reverse=True)
        needed = len(self.configuration.members) // 2
        if needed == 0:
            return 0.0
        return float(max(0.0, self._clock() - answers[needed - 1]))

    def append(self, command: bytes) -> tuple[int, int]:
        """Add *command* to the leader's log; its fate is told by `apply`.

        Returns:
            Its index and term: whatever is applied at that index with another term is not it.
        """
        return self._append(REGULAR + command)

    def begin_round(self) -> int:
        """Ask every follower whether this node still leads; `has_confirmed` tells."""
        self.round += 1
        for peer, progress in self._roster.items():
            if progress.is_linked:
                self._send_heartbeat(peer)
        return self.round

    def tick(self) -> None:
        """Do what the time asks for, count votes and acknowledgements, send what is called for."""
        self._mind_the_election()
        self.doTick(0)
        if not self.is_leader:
            return
        self._mind_the_members()
        self._mind_the_transfer()
        if self.commit_index > self._sent_commit:
            # Followers learn of a commit at once, not with the next heartbeat.
            self._SyncObj__sendAppendEntries()
            return
        for peer, progress in self._roster.items():
            if self._lacks_entries(peer, progress):
                self._replicate_to(peer, progress)

    def apply_committed(self) -> bool:
        """Apply what is committed and on this disk, for a bounded time; whether some is left.

        A failure surfaces and is never repeated: pysyncobj would wedge, or apply twice (D6, D7).
        """
        log, applied = self.log, self.applied_index
        until = self.commit_index
        if self.apply_until is not None:
            until = min(until, self.apply_until())
        if until <= applied:
            return False
        first = log.first_index
        if applied + 1 < first:
            raise BrokenPromise(f"the state ends at {applied}, but the log begins at {first}")
        deadline = self._clock() + APPLY_SECONDS
        for command, index, term in log[applied + 1 - first : until + 1 - first]:
            reach("engine.before_apply")
            self._hooks.apply(index, term, command[1:] if command[:1] == REGULAR else None)
            self._SyncObj__raftLastApplied = index
            if self._clock() > deadline:
                break
        reach("engine.after_apply")
        return self.applied_index < until

    def keep_alive(self) -> None:
        """Tell every follower that this node leads, past a disk that takes its time."""
        if self.is_leader:
            for peer, progress in self._roster.items():
                if progress.is_linked:
                    self._send_heartbeat(peer)

    # Links.

    def link_up(self, peer: str, incarnation: str) -> None:
        """Note that messages reach *peer* again; what was in flight before is lost."""
        progress = self._roster.link(peer, incarnation, self.log.last_index + 1)
        if self.configuration.member(peer) is not None:
            self._SyncObj__connectedNodes.add(progress.node)
        if self.is_leader:
            self._push_matches()
            self._SyncObj__newAppendEntriesTime = 0

    def link_down(self, peer: str) -> None:
        """Note that the link to *peer* broke; if it was the leader's, look for another soon."""
        progress = self._roster.unlink(peer)
        if progress is not None:
            self._SyncObj__connectedNodes.discard(progress.node)
        if peer == self.leader and not self.is_leader:
            # A closed link is most often a dead process: ask around soon, in turn, so that the
            # survivors do not split their votes. Pre-votes make it harmless when it is not.
            self._leader_heard_at = float("-inf")
            survivors = sorted({*self._roster.active(), self.node_id} - {peer})
            soon = self._clock() + _TURN_SECONDS * survivors.index(self.node_id)
            self._SyncObj__raftElectionDeadline = min(self._SyncObj__raftElectionDeadline, soon)

    # Membership: one server at a time, effective on append (dissertation, §4.1).

    @property
    def is_changing(self) -> bool:
        """Whether a configuration is appended that is not yet committed (D3)."""
        entries = self.log.configurations
        return bool(entries) and entries[-1][1] > self.commit_index

    def learn(self, peer: str) -> None:
        """Have *peer* catch up without a vote, until a configuration makes it a member."""
        self._roster.learners.add(peer)
        self._adopt_configuration()

    def forget(self, peer: str) -> None:
        """No longer send to the learner *peer*."""
        self._roster.learners.discard(peer)
        self._adopt_configuration()

    def has_caught_up(self, peer: str) -> bool:
        """Whether *peer* holds all that is committed."""
        match = self.match_index(peer)
        return match is not None and match >= self.commit_index

    def incarnation_of(self, peer: str) -> str | None:
        """What *peer*'s greeting said of its disk, while it is linked."""
        progress = self._roster.get(peer)
        return progress.incarnation if progress is not None and progress.is_linked else None

    def change(self, configuration: Configuration) -> tuple[int, int]:
        """Append *configuration*; the caller has made sure that none is in flight."""
        assert self.is_serving, "members change only after the term's own no-op (dissertation, 4.1)"
        assert not self.is_changing, "members change one at a time (D3)"
        reach("engine.before_change")
        position = self._append(configuration.pack())
        self._adopt_configuration()
        reach("engine.after_change")
        return position

    def hand_over(self, peer: str | None) -> bool:
        """Have *peer*, or the member that is furthest, lead from now on; False if none can.

        No command is taken in until it does, or for one election timeout (dissertation, §3.10).
        """
        candidates = [
            (progress.match_index, id_)
            for id_, progress in self._roster.items()
            if progress.is_linked and self.configuration.counts(id_, progress.incarnation)
        ]
        if peer is not None:
            candidates = [candidate for candidate in candidates if candidate[1] == peer]
        if not self.is_leader or not candidates:
            return False
        self._transfer_to = max(candidates)[1]
        self._transfer_until = self._clock() + self.timing.election_min
        return True

    def installed(self, index: int, term: int, configuration: Configuration) -> None:
        """Go on from a snapshot that was just installed, and tell the leader.

        A tail of the log that extends it is kept (D4); the commit index moves to the snapshot's end
        and no further, whatever the log holds (D1).
        """
        if self.log.term_at(index) != term:
            self.log.restart_at(index, term)
        reach("engine.log_restarted")
        self._base = configuration
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(self.commit_index, index)
        self._adopt_configuration()
        self.confirm_snapshot(index)

    def confirm_snapshot(self, index: int) -> None:
        """Tell the leader that this node holds all up to *index*, which is committed."""
        if self.leader is not None and not self.is_leader:
            self.dispatch(
                self.leader, {"type": "next_node_idx", "next_node_idx": index + 1, "reset": False}
            )

    def compact(self, index: int) -> list[str]:
        """Forget the entries before *index*, which a durable snapshot holds; see `Log.compact`."""
        reach("engine.before_compaction")
        self._base = self.configuration_at(index)
        return self.log.compact(index)

    def configuration_at(self, index: int) -> Configuration:
        """The members as they were known once the entry at *index* was applied."""
        known = [entry for entry in self.log.configurations if entry[1] <= index]
        return unpack(known[-1][0]) if known else self._base

    def _append(self, command: bytes) -> tuple[int, int]:
        assert self.is_leader, "only a leader appends"
        index, term = self.log.last_index + 1, self.term
        self.log.add(command, index, term)
        return index, term

    def _adopt_configuration(self) -> None:
        """Put the newest configuration of the log into effect, appended or truncated as it was."""
        entries = self.log.configurations
        configuration = unpack(entries[-1][0]) if entries else self._base
        self._roster.admit(configuration, self.log.last_index + 1)
        others = {
            self._roster[member.id].node
            for member in configuration.members
            if member.id != self.node_id
        }
        self._SyncObj__otherNodes.clear()
        self._SyncObj__otherNodes.update(others)
        linked = {progress.node for _, progress in self._roster.items() if progress.is_linked}
        self._SyncObj__connectedNodes.clear()
        self._SyncObj__connectedNodes.update(others & linked)
        for node in others:
            self._SyncObj__lastResponseTime.setdefault(node, self._clock())
            self._SyncObj__raftMatchIndex.setdefault(node, 0)
        for table in (self._SyncObj__lastResponseTime, self._SyncObj__raftMatchIndex):
            for node in [node for node in table if node not in others]:
                del table[node]
        changed = configuration != self.configuration
        self.configuration = configuration
        self._push_matches()
        if changed:
            self._hooks.configured(configuration)

    def _push_matches(self) -> None:
        """Let pysyncobj count only those whose word counts; while forming, only what all hold."""
        is_formed = self.configuration.stage is Stage.FORMED
        others = [m for m in self.configuration.members if m.id != self.node_id]
        held_by_all = min((self._roster[m.id].match_index for m in others), default=0)
        for member in others:
            progress = self._roster[member.id]
            counts = self.configuration.counts(member.id, progress.incarnation)
            match = progress.match_index if counts else 0
            self._SyncObj__raftMatchIndex[progress.node] = match if is_formed else held_by_all

    def _mind_the_members(self) -> None:
        """As the leader: form the cluster, and bind anew whoever came back with another disk."""
        if self.is_changing:
            return
        if self.configuration.stage is Stage.UNFORMED:
            self._form()
        elif self.applied_index < self._SyncObj__noopIDx:
            return
        elif self.configuration.stage is Stage.FORMING:
            reach("engine.before_formed")
            self._append(self.configuration.formed().pack())  # All hold the entry before it.
            self._adopt_configuration()
        else:
            self._readmit()

    def _form(self) -> None:
        known = {id_: progress.incarnation for id_, progress in self._roster.items()}
        known[self.node_id] = self.incarnation
        if all(known.get(member.id) for member in self.configuration.members):
            names = repr(sorted(known.items())).encode()
            cluster_id = blake2b(names, digest_size=8, person=b"quorate-cluster").hexdigest()
            reach("engine.before_forming")
            self._append(self.configuration.bound(known, cluster_id=cluster_id).pack())
            self._adopt_configuration()

    def _readmit(self) -> None:
        for member in self.configuration.members:
            progress = self._roster.get(member.id)
            if (
                progress is not None
                and progress.is_linked
                and progress.incarnation != member.incarnation
                and progress.match_index == self.log.last_index
            ):
                self.change(
                    self.configuration.with_member(
                        Member(member.id, member.raft, progress.incarnation)
                    )
                )
                return

    def _mind_the_transfer(self) -> None:
        if self._transfer_to is None:
            return
        if self._clock() > self._transfer_until:
            self._transfer_to = None
        elif self.match_index(self._transfer_to) == self.log.last_index:
            reach("engine.before_hand_over")
            self.dispatch(self._transfer_to, {"type": "campaign", "term": self.term})

    # Messages out.

    def dispatch(self, peer: str, message: Message, *, is_urgent: bool = False) -> bool:
        """Send *message* with what every message carries: the sender's term (D13)."""
        message["from_term"] = self.term
        if message["type"] == "request_vote":
            message["forced"] = self._is_forced
        self._hooks.send(peer, message, is_urgent=is_urgent)
        return True

    def _send_heartbeat(self, peer: str) -> None:
        message = {"type": "heartbeat", "term": self.term, "round": self.round}
        self.dispatch(peer, message, is_urgent=True)

    # Messages in.

    def receive(self, peer: str, message: Message) -> None:
        """Take one message from *peer*, rewritten or refused where pysyncobj would go wrong."""
        handler = _RULES.get(message["type"])
        progress = self._roster.get(peer)
        if handler is None or progress is None:
            return  # Forwarding (D8), stock transfers, chunked commands (D18): not here.
        if handler(self, peer, message):
            self._SyncObj__onMessageReceived(progress.node, message)
            if message["type"] == "append_entries":
                self._adopt_configuration_if_changed()

    def _adopt_configuration_if_changed(self) -> None:
        entries = self.log.configurations
        if (unpack(entries[-1][0]) if entries else self._base) != self.configuration:
            self._adopt_configuration()

    def _rule_append(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        self._leader_heard_at = self._clock()
        self._prevote_term = 0
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
        if message["prevLogIdx"] < log.first_index:  # A snapshot holds what comes before.
            entries = [entry for entry in entries if entry[1] > log.first_index]
            if not entries or entries[0][1] != log.first_index + 1:
                return
            message["prevLogIdx"] = log.first_index
            message["prevLogTerm"] = log.term_at(log.first_index)
        previous, previous_term = message["prevLogIdx"], message["prevLogTerm"]
        if log.term_at(previous) != previous_term:
            return  # pysyncobj answers with a reset and truncates nothing.
        vouched = previous + len(entries)
        known = 0
        for _, index, term in entries:
            if log.term_at(index) != term:
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
        """Count an acknowledgement; pysyncobj's own handling goes back on pipelined ones (D2)."""
        if message["from_term"] != self.term or not self.is_leader:
            return False  # pysyncobj's acknowledgements carry no term (D13).
        progress = self._roster[peer]
        if message["reset"]:
            # An old reset must not lead below what was acknowledged in this term (D2).
            progress.next_index = max(message["next_node_idx"], progress.match_index + 1)
            if progress.next_index > self.log.first_index:
                self._SyncObj__newAppendEntriesTime = 0
        else:
            progress.acknowledged(message["next_node_idx"] - 1)
            self._push_matches()
        self._note_answer(peer, progress)
        return False

    def _note_answer(self, peer: str, progress: Progress) -> None:
        if self.configuration.counts(peer, progress.incarnation):
            self._SyncObj__lastResponseTime[progress.node] = self._clock()

    def _rule_heartbeat(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        now = self._clock()
        self._leader_heard_at = now
        self._prevote_term = 0
        if message["term"] > self.term or self.is_candidate:
            self._step_down(message["term"])
        self._SyncObj__raftLeader = self._roster[peer].node
        self._SyncObj__raftElectionDeadline = now + self._SyncObj__generateRaftTimeout()
        answer = {"type": "heartbeat_ack", "round": message["round"]}
        self.dispatch(peer, answer, is_urgent=True)
        return False

    def _rule_heartbeat_ack(self, peer: str, message: Message) -> bool:
        if message["from_term"] == self.term and self.is_leader:
            progress = self._roster[peer]
            progress.round = max(progress.round, message["round"])
            self._note_answer(peer, progress)
        return False

    def _rule_vote_request(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        # A voter that lately heard its leader does not help to depose it (dissertation, §4.2.3),
        # unless that leader asked for it.
        return bool(message["forced"]) or not self._hears_a_leader()

    def _rule_vote(self, peer: str, message: Message) -> bool:
        """Count voters, not messages (D13), and only those whose word counts."""
        if message["from_term"] == message["term"] == self.term and self.is_candidate:
            if self.configuration.counts(peer, self._roster[peer].incarnation):
                self._votes.add(peer)
            if len(self._votes) + 1 >= self.configuration.votes_needed:
                self._SyncObj__onBecomeLeader()
        return False

    def _rule_stale_term(self, _peer: str, message: Message) -> bool:
        if message["from_term"] > self.term:
            self._step_down(message["from_term"])
        return False

    def _answer_stale(self, peer: str) -> None:
        """Tell a sender of an old term that it is old; pysyncobj leaves it in the dark (D12)."""
        self.dispatch(peer, {"type": "stale_term"})

    def _step_down(self, term: int) -> None:
        reach("engine.before_step_down")
        if term > self.term:
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
        if not self.is_member:
            return
        self._prevote_term = self.term + 1
        self._grants.clear()
        request = {
            "type": "pre_vote",
            "term": self._prevote_term,
            "last_log_index": self.log.last_index,
            "last_log_term": self.log[-1][2],
        }
        for peer in self._roster.active():
            self.dispatch(peer, dict(request))
        self._campaign_if_granted()

    def _rule_pre_vote(self, peer: str, message: Message) -> bool:
        mine = (self.log[-1][2], self.log.last_index)
        theirs = (message["last_log_term"], message["last_log_index"])
        if message["term"] <= self.term:
            self._answer_stale(peer)
        elif theirs >= mine and not self._hears_a_leader():
            reach("engine.before_pre_vote_granted")
            self.dispatch(peer, {"type": "pre_vote_granted", "term": message["term"]})
            # Who was encouraged is given the time to win.
            self._SyncObj__raftElectionDeadline = max(
                self._SyncObj__raftElectionDeadline, self._clock() + self.timing.heartbeat
            )
        return False

    def _rule_pre_vote_granted(self, peer: str, message: Message) -> bool:
        if message["term"] == self._prevote_term == self.term + 1 and self.configuration.counts(
            peer, self._roster[peer].incarnation
        ):
            self._grants.add(peer)
            self._campaign_if_granted()
        return False

    def _rule_campaign(self, peer: str, message: Message) -> bool:
        """The leader asks this node to lead: hold an election at once, whatever was heard."""
        if message["term"] == self.term and peer == self.leader and self.is_member:
            self._is_forced = True
            self._campaign()
            self._is_forced = False
        return False

    def _campaign_if_granted(self) -> None:
        if self._prevote_term and len(self._grants) + 1 >= self.configuration.votes_needed:
            self._prevote_term = 0
            self._campaign()

    def _campaign(self) -> None:
        self._votes.clear()
        self._SyncObj__raftElectionDeadline = 0
        reach("engine.before_campaign")
        self.doTick(0)
        reach("engine.after_campaign")

    # Overrides of pysyncobj's own methods.

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802 - pysyncobj's name
        """Nothing: `apply_committed` does it, once what the tick appended is on its way."""
        return False

    def _SyncObj__deleteEntriesFrom(self, index: int) -> None:  # noqa: N802 - pysyncobj's name
        """Truncate on a real conflict only (D2)."""
        if not self._keep_tail:
            reach("engine.before_truncation")
            self.log.deleteEntriesFrom(index - self.log.first_index)

    def _SyncObj__sendNextNodeIdx(  # noqa: N802 - pysyncobj's name
        self,
        node: Node,
        reset: bool = False,
        nextNodeIdx: int | None = None,  # noqa: N803 - pysyncobj's signature
        success: bool = False,  # noqa: ARG002 - pysyncobj's signature
    ) -> None:
        """Answer an append; on a mismatch go straight to what must match, not one back (D11)."""
        if reset:
            next_index = max(self.commit_index, self.log.first_index) + 1
        else:
            next_index = self.log.last_index + 1 if nextNodeIdx is None else nextNodeIdx
        self.dispatch(
            node.id, {"type": "next_node_idx", "next_node_idx": next_index, "reset": reset}
        )

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802 - pysyncobj's name
        """Send every follower what it lacks, bounded; or, lacking nothing, a sign of life."""
        self._SyncObj__newAppendEntriesTime = self._clock() + self.timing.heartbeat
        self._sent_commit = self.commit_index
        for peer, progress in self._roster.items():
            if progress.is_linked:
                self._replicate_to(peer, progress)

    def _replicate_to(self, peer: str, progress: Progress) -> None:
        log = self.log
        first = log.first_index
        if progress.next_index <= first:
            self._send_heartbeat(peer)
            self._hooks.needs_snapshot(peer)
            return
        entries: list[Entry] = []
        if self._lacks_entries(peer, progress):
            start = progress.next_index - first
            entries = _take_bytes(log[start : start + BATCH_ENTRIES], BATCH_BYTES)
        self.dispatch(
            peer,
            {
                "type": "append_entries",
                "term": self.term,
                "commit_index": self.commit_index,
                "prevLogIdx": progress.next_index - 1,
                "prevLogTerm": log.term_at(progress.next_index - 1),
                "entries": entries,
            },
        )
        progress.next_index += len(entries)

    def _lacks_entries(self, peer: str, progress: Progress) -> bool:
        """Whether *peer* lacks entries and may be sent some now; its answers pace the rest."""
        return (
            self.log.first_index < progress.next_index <= self.log.last_index
            and progress.is_linked
            and progress.next_index - progress.match_index < FLIGHT_ENTRIES
            and not self._hooks.is_congested(peer)
        )

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802 - pysyncobj's name
        reach("engine.elected")
        self._transfer_to = None
        self._roster.lead(self.log.last_index + 1)
        super()._SyncObj__onBecomeLeader()
        self._mind_the_members()

    def _SyncObj__setState(self, state: int) -> None:  # noqa: N802 - pysyncobj's name
        if state != _LEADER:
            self._transfer_to = None
            self._roster.dismiss_learners()
        super()._SyncObj__setState(state)

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802 - pysyncobj's name
        """Never: we compact, on our own terms."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: ARG002, N802, N803
        raise AssertionError("pysyncobj never reads or writes a snapshot here")


class _Peer(Node):  # type: ignore[misc]  # pysyncobj ships no types.
    """A node whose hash is the same in every process, so that sets of them are in one order."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class _Outlet(Transport):  # type: ignore[misc]  # pysyncobj ships no types.
    """What pysyncobj takes for its network: hands every message to the engine's `dispatch`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(None, None, [])
        self._engine = engine

    def send(self, node: Node, message: Message) -> bool:
        return self._engine.dispatch(node.id, message)


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
    "heartbeat": Engine._rule_heartbeat,
    "heartbeat_ack": Engine._rule_heartbeat_ack,
    "request_vote": Engine._rule_vote_request,
    "response_vote": Engine._rule_vote,
    "stale_term": Engine._rule_stale_term,
    "pre_vote": Engine._rule_pre_vote,
    "pre_vote_granted": Engine._rule_pre_vote_granted,
    "campaign": Engine._rule_campaign,
}

# pysyncobj makes its journal from a file name; we hand it ours instead.
_stock_create_journal = pysyncobj.syncobj.createJournal
pysyncobj.syncobj.createJournal = lambda journal: (
    journal if isinstance(journal, Log) else _stock_create_journal(journal)
)
