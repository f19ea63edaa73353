"""How a member comes to lead: pre-votes with stickiness, votes of those who count, handing over.

Builds on `electorate.py`. Pre-votes keep a stalled loop or a healed node from deposing anyone (Raft
dissertation, §9.6, and §4.2.3 on voters that hear their leader); handing over is §3.10.
"""

from __future__ import annotations

from cluster.crashpoints import reach
from cluster.raft.contract import EngineSettings, Message
from cluster.raft.electorate import Electorate

_TURN_SECONDS = 0.03  # Between two survivors of a leader asking around for votes.


class Elector(Electorate):
    """The part of the engine that elects, and is elected."""

    def __init__(self, settings: EngineSettings) -> None:
        self._votes: set[str] = set()
        self._grants: set[str] = set()
        self._prevote_term = 0  # The term that an open pre-vote asks for; 0 when none is open.
        self._withheld: dict[str, tuple[float, Message]] = {}  # Asked when; see `_reconsider`.
        self._is_forced = False  # The next election was asked for by the leader itself.
        self._transfer_to: str | None = None
        self._transfer_until = 0.0
        self._leader_heard_at = float("-inf")
        self._is_leader_gone = False  # It is known since to lead no more, or its link broke.
        super().__init__(settings)
        # One that just woke has no reason to wait for a leader: it asks around soon, which a
        # cluster that has one does not mind.
        self.look_for_leader_at(self.clock() + self.timing.heartbeat * (1 + settings.random()))

    def link_down(self, peer: str) -> None:
        """Note that the link to *peer* broke; if it was the leader's, look for another soon."""
        super().link_down(peer)
        if peer == self.leader and not self.is_leader:
            # A closed link is most often a dead process: ask around soon, in turn, so that the
            # survivors do not split their votes. Pre-votes make it harmless when it is not.
            self._is_leader_gone = True
            survivors = sorted({*self._roster.active(), self.node_id} - {peer})
            soon = self.clock() + _TURN_SECONDS * survivors.index(self.node_id)
            self.look_for_leader_at(min(self.election_deadline, soon))

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
        self._transfer_until = self.clock() + self.timing.election_min
        return True

    def campaigns(self) -> None:
        self._votes.clear()

    def elected(self) -> None:
        reach("engine.elected")
        self._transfer_to = None
        self._roster.lead(self.log.last_index + 1)

    def follows(self) -> None:
        self._transfer_to = None
        self._roster.dismiss_learners()

    def lead(self) -> None:
        super().lead()
        self._mind_the_members()

    def heard_leader_until(self, when: float) -> None:
        """Note that whoever led until then leads no more."""
        self._leader_heard_at = when
        self._is_leader_gone = True

    def _hears_a_leader(self) -> bool:
        silence = self.clock() - self._leader_heard_at
        is_heard = not self._is_leader_gone and silence < self.timing.election_min
        return self.is_leader or is_heard

    def _heard_the_leader(self) -> None:
        self._leader_heard_at = self.clock()
        self._is_leader_gone = False
        self._prevote_term = 0

    def _mind_the_election(self) -> None:
        """When the deadline passes, ask around first; pysyncobj would raise its term at once."""
        if self._withheld and not self._hears_a_leader():
            self._reconsider()
        if self.is_leader or self.election_deadline > self.clock():
            return
        self.look_for_leader_later()
        self.forget_leader()
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
        if message["term"] <= self.term:
            self._answer_stale(peer)
        elif self._hears_a_leader():
            self._withheld[peer] = (self.clock(), message)
        else:
            self._consider(peer, message)
        return False

    def _reconsider(self) -> None:
        """Answer the pre-votes that were withheld for a leader that is heard no longer.

        Whoever saw its link to a dead leader break first has asked too early, and asks again only
        after an election timeout: until then its question stands.
        """
        withheld, self._withheld = self._withheld, {}
        oldest = self.clock() - self.timing.election_min
        for peer, (asked_at, message) in withheld.items():
            if asked_at >= oldest and message["term"] > self.term:
                self._consider(peer, message)

    def _consider(self, peer: str, message: Message) -> None:
        """Grant *peer* its pre-vote if its log is no older than this node's.

        Of two that ask at once, each would be granted by the other and both would campaign, which
        splits the votes. A link keeps its order, so each has the other's question before its grant:
        the one with the older log stands back, or else the one with the higher id.
        """
        mine = (self.log[-1][2], self.log.last_index)
        theirs = (message["last_log_term"], message["last_log_index"])
        if theirs < mine:
            return
        if theirs > mine or peer < self.node_id:
            self._prevote_term = 0
        reach("engine.before_pre_vote_granted")
        self.dispatch(peer, {"type": "pre_vote_granted", "term": message["term"]})
        self._give_it_time()

    def _give_it_time(self) -> None:
        """Ask for no votes while another, who was encouraged or campaigns, may be about to win."""
        patience = self.clock() + self.timing.heartbeat
        self.look_for_leader_at(max(self.election_deadline, patience))

    def _rule_pre_vote_granted(self, peer: str, message: Message) -> bool:
        if message["term"] == self._prevote_term == self.term + 1 and self.configuration.counts(
            peer, self._roster[peer].incarnation
        ):
            self._grants.add(peer)
            self._campaign_if_granted()
        return False

    def _rule_vote_request(self, peer: str, message: Message) -> bool:
        if message["term"] < self.term:
            self._answer_stale(peer)
            return False
        # A voter that lately heard its leader does not help to depose it (dissertation, §4.2.3),
        # unless that leader asked for it.
        if self._hears_a_leader() and not message["forced"]:
            return False
        self._give_it_time()
        reach("engine.before_vote")
        return True

    def _rule_vote(self, peer: str, message: Message) -> bool:
        """Count voters, not messages (D13), and only those whose word counts."""
        if message["from_term"] == message["term"] == self.term and self.is_candidate:
            if self.configuration.counts(peer, self._roster[peer].incarnation):
                self._votes.add(peer)
            if len(self._votes) + 1 >= self.configuration.votes_needed:
                self.lead()
        return False

    def _rule_campaign(self, peer: str, message: Message) -> bool:
        """The leader asks this node to lead: hold an election at once, whatever was heard."""
        if message["term"] == self.term and peer == self.leader and self.is_member:
            self._is_forced = True
            self._campaign()
            self._is_forced = False
        return False

    def _rule_stale_term(self, _peer: str, message: Message) -> bool:
        if message["from_term"] > self.term:
            reach("engine.before_step_down")
            self.step_down(message["from_term"])
        return False

    def _answer_stale(self, peer: str) -> None:
        """Tell a sender of an old term that it is old; pysyncobj leaves it in the dark (D12)."""
        self.dispatch(peer, {"type": "stale_term"})

    def _mind_the_transfer(self) -> None:
        if self._transfer_to is None:
            return
        if self.clock() > self._transfer_until:
            self._transfer_to = None
        elif self.match_index(self._transfer_to) == self.log.last_index:
            reach("engine.before_hand_over")
            self.dispatch(self._transfer_to, {"type": "campaign", "term": self.term})

    def _campaign_if_granted(self) -> None:
        if self._prevote_term and len(self._grants) + 1 >= self.configuration.votes_needed:
            self._prevote_term = 0
            self._campaign()

    def _campaign(self) -> None:
        reach("engine.before_campaign")
        self.hold_election()
        reach("engine.after_campaign")
