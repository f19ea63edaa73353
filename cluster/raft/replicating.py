"""What a leader sends, and what it counts of the answers: entries, commits, rounds.

Builds on `following.py`. What is sent unanswered is bounded, and what was acknowledged in a term
is never taken back in it (D2, D13, D19).
"""

from __future__ import annotations

import logging

from cluster.raft.contract import EngineSettings, Message
from cluster.raft.following import Follower
from cluster.raft.membership import Stage
from cluster.raft.progress import Progress
from cluster.raft.segments import Entry

logger = logging.getLogger(__name__)

BATCH_BYTES = 4 * 1024 * 1024  # How much one append may carry, unless one entry alone is larger.
BATCH_ENTRIES = 1_024
STALL_TIMEOUTS = 5  # Of elections: so long may one write take a leader's disk.
FLIGHT_ENTRIES = 4_096  # How far a follower may be behind in what was sent to it unanswered.


class Replicator(Follower):
    """The part of the engine that leads."""

    def __init__(self, settings: EngineSettings) -> None:
        self.round = 0  # ReadIndex: the newest round that this leader began.
        self._sent_commit = 0
        super().__init__(settings)

    def link_up(self, peer: str, incarnation: str) -> None:
        """As the leader, ask *peer* at once for what was asked, or was lost, while it was away."""
        super().link_up(peer, incarnation)
        if self.is_leader and peer in self._roster.active():
            self._send_heartbeat(peer)

    def begin_round(self) -> int:
        """Ask every follower whether this node still leads; `has_confirmed` tells."""
        self.round += 1
        for peer, progress in self._roster.items():
            if progress.is_linked:
                self._send_heartbeat(peer)
        return self.round

    def has_confirmed(self, round_number: int) -> bool:
        """Whether a majority has echoed that round or a later one (dissertation, §6.4)."""
        return self.is_leader and self._confirmed_round() >= round_number

    def mind_the_disk(self, seconds: float) -> None:
        """As a leader, pass a disk that has taken *seconds* for one write, or let another lead."""
        if not self.is_leader or seconds <= self.timing.heartbeat:
            return
        stalled_seconds = self.timing.election_max * STALL_TIMEOUTS
        if seconds > stalled_seconds and self.configuration.votes_needed > 1:
            logger.warning("a write has taken the disk %.1f s: another member is to lead", seconds)
            self.step_down(self.term)
            return
        for peer, progress in self._roster.items():
            if progress.is_linked:
                self._send_heartbeat(peer)

    # Messages out.

    def replicate(self) -> None:
        """Send every follower what it lacks, bounded; or, lacking nothing, a sign of life."""
        self._sent_commit = self.commit_index
        for peer, progress in self._roster.items():
            if progress.is_linked:
                self._replicate_to(peer, progress)

    def _replicate_news(self) -> None:
        """Send to each follower the entries that it lacks, or else what was committed since."""
        is_news = self.commit_index > self._sent_commit
        self._sent_commit = self.commit_index
        for peer, progress in self._roster.items():
            if self._lacks_entries(peer, progress):
                self._replicate_to(peer, progress)
            elif is_news and progress.is_linked:
                self._announce_commit(peer)

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

    def _send_heartbeat(self, peer: str) -> None:
        message = {"type": "heartbeat", "term": self.term, "round": self.round}
        self.dispatch(peer, message, is_urgent=True)

    def _announce_commit(self, peer: str) -> None:
        """Tell *peer* what is committed: at once, or in one frame with what the disk holds up."""
        self.dispatch(
            peer, {"type": "committed", "term": self.term, "commit_index": self.commit_index}
        )

    def _lacks_entries(self, peer: str, progress: Progress) -> bool:
        """Whether *peer* lacks entries and may be sent some now; its answers pace the rest."""
        return (
            self.log.first_index < progress.next_index <= self.log.last_index
            and progress.is_linked
            and progress.next_index - progress.match_index < FLIGHT_ENTRIES
            and not self._hooks.is_congested(peer)
        )

    # Messages in.

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

    def _is_idle(self, peer: str, ack: Message) -> bool:
        """Whether that acknowledgement, which was taken, leaves a tick nothing to do.

        So it is with most: the last of a round's, and those of signs of life.
        """
        if not self.is_leader:
            return True
        progress = self._roster[peer]
        return (
            not ack["reset"]
            and progress.match_index <= self.commit_index
            and progress.next_index > self.log.last_index
            and self._transfer_to is None
            and self.configuration.stage is Stage.FORMED
            and self.configuration.counts(peer, progress.incarnation)
            and not self.is_changing
        )

    def _rule_heartbeat_ack(self, peer: str, message: Message) -> bool:
        if message["from_term"] == self.term and self.is_leader:
            progress = self._roster[peer]
            progress.round = max(progress.round, message["round"])
            self._note_answer(peer, progress)
        return False

    def _confirmed_round(self) -> int:
        return self._roster.reached_by(self.configuration, self.round, lambda peer: peer.round)


def _take_bytes(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """The longest head of *entries* within *bytes_max*, but never none."""
    total = 0
    for count, entry in enumerate(entries):
        total += len(entry[0])
        if total > bytes_max and count:
            return entries[:count]
    return entries
