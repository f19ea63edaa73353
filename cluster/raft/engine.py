"""The consensus engine: pysyncobj as a sans-I/O core, with the rules that make it safe.

It knows no socket, file or timer: messages go in by `receive`, come out by the hook `send`, and
`tick` does what the time asks for. Its driver makes what a tick appended durable before what the
tick sent may leave. The engine is built in four storeys, each a class on the one below:

    Stock       pysyncobj's state under plain names              stock.py
    Electorate  who counts, and how far each one's log goes      electorate.py
    Elector     how a member comes to lead                       elections.py
    Engine      what is replicated, acknowledged, read, applied  this file

pysyncobj by itself loses acknowledged writes; each rule says what would go wrong without it. The
numbers D1 … D19 are those of `docs/raft.md`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cluster.crashpoints import reach
from cluster.errors import BrokenPromise, WireError
from cluster.raft.contract import EngineSettings, Message
from cluster.raft.elections import Elector
from cluster.raft.log import Entry
from cluster.raft.membership import Configuration
from cluster.raft.progress import Progress

logger = logging.getLogger(__name__)

BATCH_BYTES = 4 * 1024 * 1024  # How much one append may carry, unless one entry alone is larger.
BATCH_ENTRIES = 1_024
FLIGHT_ENTRIES = 4_096  # How far a follower may be behind in what was sent to it unanswered.
_NUMBERS = (
    "from_term",
    "term",
    "round",
    "commit_index",
    "prevLogIdx",
    "prevLogTerm",
    "next_node_idx",
    "last_log_index",
    "last_log_term",
)
_NUMBER_MAX = 2**62
_TERM_LEAP_MAX = 1_000_000  # Terms rise by elections: so many take more than a week.
APPLY_SECONDS = 0.02  # How long one turn of the loop may apply entries.

REGULAR = b"\x00"  # The first byte of an entry that is the machine's; pysyncobj's no-op has 1.


class Engine(Elector):
    """One member's consensus state. All of it runs on one thread, between two turns of a loop."""

    def __init__(self, settings: EngineSettings) -> None:
        self.apply_until: Callable[[], int] | None = None  # A bound on what may be applied now.
        self.round = 0  # ReadIndex: the newest round that this leader began.
        self._keep_tail = False
        self._sent_commit = 0
        self._vouched = (0, 0)  # A term, and how far its leader is known to have the same log.
        super().__init__(settings)

    # What the driver and the replica see.

    @property
    def is_serving(self) -> bool:
        """Whether this node leads a formed cluster and has applied an entry of its own term.

        Before that it does not know what is committed (Raft, §8). One that is handing leadership
        over takes nothing more in.
        """
        return (
            self.is_leader
            and self.has_applied_own_term()
            and self.is_formed
            and self._transfer_to is None
        )

    def has_confirmed(self, round_number: int) -> bool:
        """Whether a majority has echoed that round or a later one (dissertation, §6.4)."""
        reached = self._roster.reached_by(self.configuration, self.round, lambda p: p.round)
        return reached >= round_number

    def leader_contact(self) -> float:
        """Seconds since a leader was heard; on a leader, since a majority last answered it."""
        if not self.is_leader:
            return self.clock() - self._leader_heard_at
        needed = len(self.configuration.members) // 2
        return max(0.0, self.clock() - self.answered_at()[needed - 1]) if needed else 0.0

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
        is_news = self.commit_index > self._sent_commit
        self._sent_commit = self.commit_index
        for peer, progress in self._roster.items():
            if self._lacks_entries(peer, progress):
                self._replicate_to(peer, progress)
            elif is_news and progress.is_linked:
                self._announce_commit(peer)

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
        deadline = self.clock() + APPLY_SECONDS
        for command, index, term in log[applied + 1 - first : until + 1 - first]:
            reach("engine.before_apply")
            self._hooks.apply(index, term, command[1:] if command[:1] == REGULAR else None)
            self.applied(index)
            if self.clock() > deadline:
                break
        reach("engine.after_apply")
        return self.applied_index < until

    def keep_alive(self) -> None:
        """Tell every follower that this node leads, past a disk that takes its time."""
        if self.is_leader:
            for peer, progress in self._roster.items():
                if progress.is_linked:
                    self._send_heartbeat(peer)

    def installed(self, index: int, term: int, configuration: Configuration) -> None:
        """Go on from a snapshot that was just installed, and tell the leader.

        A tail of the log that extends it is kept (D4); the commit index moves to the snapshot's end
        and no further, whatever the log holds (D1).
        """
        if self.log.term_at(index) != term:
            self.log.restart_at(index, term)
        reach("engine.log_restarted")
        self._base = configuration
        self._vouched = (0, 0)
        self.jump(index)
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
        """Take one message from *peer*, rewritten or refused where pysyncobj would go wrong.

        Raises:
            WireError: a number in it is none that a member could mean.
            BrokenPromise: it contradicts what is committed.
        """
        handler = _RULES.get(message["type"])
        progress = self._roster.get(peer)
        if handler is None or progress is None:
            return  # Forwarding (D8), stock transfers, chunked commands (D18): not here.
        self._check_numbers(peer, message)
        if handler(self, peer, message):
            self.process(progress.node, message)
            if message["type"] == "append_entries":
                self._adopt_configuration_if_changed()

    def _check_numbers(self, peer: str, message: Message) -> None:
        """One broken member must not push the term out of everyone's reach for good."""
        for name in _NUMBERS:
            value = message.get(name, 0)
            if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
                raise WireError(f"{peer} says {name} {value!r:.40}, which is no such number")
        highest = max(message["from_term"], message.get("term", 0))
        if highest > self.term + _TERM_LEAP_MAX:
            raise WireError(f"{peer} says term {highest}, far beyond {self.term}")

    def _rule_append(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        self._heard_the_leader()
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
        self._vouched = max(self._vouched, (message["term"], vouched))
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
            if message["next_node_idx"] <= progress.held_index:
                logger.warning(
                    "%s had acknowledged entries up to %d and now asks for %d: look at its disk",
                    peer,
                    progress.held_index,
                    message["next_node_idx"],
                )
                progress.held_index = 0  # Said once.
            progress.next_index = max(message["next_node_idx"], progress.match_index + 1)
            if progress.next_index > self.log.first_index:
                self.replicate_soon()
        else:
            progress.acknowledged(message["next_node_idx"] - 1)
            self._push_matches()
        self._note_answer(peer, progress)
        return False

    def _rule_heartbeat(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        self._heard_the_leader()
        if message["term"] > self.term or self.is_candidate:
            self.step_down(message["term"])
        self.follow(self._roster[peer].node)
        answer = {"type": "heartbeat_ack", "round": message["round"]}
        self.dispatch(peer, answer, is_urgent=True)
        return False

    def _rule_committed(self, _peer: str, message: Message) -> bool:
        """Learn of a commit at once, not with the next heartbeat; it calls for no answer.

        It counts only up to where this leader is known to have the same log as this node.
        """
        term, vouched = self._vouched
        if message["term"] == self.term == term and not self.is_leader:
            self._heard_the_leader()
            self.commit(min(message["commit_index"], vouched, self.log.last_index))
        return False

    def _rule_heartbeat_ack(self, peer: str, message: Message) -> bool:
        if message["from_term"] == self.term and self.is_leader:
            progress = self._roster[peer]
            progress.round = max(progress.round, message["round"])
            self._note_answer(peer, progress)
        return False

    # What pysyncobj would do itself.

    def truncate(self, index: int) -> None:
        """Drop the entries from *index* on; only on a real conflict (D2)."""
        if not self._keep_tail:
            reach("engine.before_truncation")
            self.log.deleteEntriesFrom(index - self.log.first_index)

    def answer(self, peer: str, next_index: int | None) -> None:
        """Answer an append; on a mismatch go straight to what must match, not one back (D11)."""
        is_reset = next_index is None
        if next_index is None:
            next_index = max(self.commit_index, self.log.first_index) + 1
        self.dispatch(
            peer, {"type": "next_node_idx", "next_node_idx": next_index, "reset": is_reset}
        )

    def replicate(self) -> None:
        """Send every follower what it lacks, bounded; or, lacking nothing, a sign of life."""
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

    def _announce_commit(self, peer: str) -> None:
        message = {"type": "committed", "term": self.term, "commit_index": self.commit_index}
        self.dispatch(peer, message, is_urgent=True)

    def _lacks_entries(self, peer: str, progress: Progress) -> bool:
        """Whether *peer* lacks entries and may be sent some now; its answers pace the rest."""
        return (
            self.log.first_index < progress.next_index <= self.log.last_index
            and progress.is_linked
            and progress.next_index - progress.match_index < FLIGHT_ENTRIES
            and not self._hooks.is_congested(peer)
        )


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
    "committed": Engine._rule_committed,
    "heartbeat": Engine._rule_heartbeat,
    "heartbeat_ack": Engine._rule_heartbeat_ack,
    "request_vote": Engine._rule_vote_request,
    "response_vote": Engine._rule_vote,
    "stale_term": Engine._rule_stale_term,
    "pre_vote": Engine._rule_pre_vote,
    "pre_vote_granted": Engine._rule_pre_vote_granted,
    "campaign": Engine._rule_campaign,
}
