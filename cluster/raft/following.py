"""What a follower takes from its leader: entries, commits, signs of life, a snapshot's place.

Builds on `elections.py`. pysyncobj truncates and commits what it should not; here every append is
rewritten so that it cannot (D1, D2, D4, D11).
"""

from __future__ import annotations

from cluster.crashpoints import reach
from cluster.errors import BrokenPromise
from cluster.raft.contract import EngineSettings, Message
from cluster.raft.elections import Elector
from cluster.raft.membership import Configuration


class Follower(Elector):
    """The part of the engine that follows."""

    def __init__(self, settings: EngineSettings) -> None:
        self._keep_tail = False
        self._vouched = (0, 0)  # A term, and how far its leader is known to have the same log.
        super().__init__(settings)

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

    # Messages in.

    def _rule_append(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        if message["term"] > self.term:
            self.step_down(message["term"])
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

    def _rule_heartbeat(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        if message["term"] > self.term or self.is_candidate:
            self.step_down(message["term"])
        self._heard_the_leader()
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

    # What pysyncobj would do itself (stock.Rules).

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
