"""The consensus engine: pysyncobj as a sans-I/O core, with the rules that make it safe.

It knows no socket, file or timer: messages go in by `receive`, come out by the hook `send`, and
`tick` does what the time asks for. Its driver makes what a tick appended durable before anything
may leave that vouches for it. The engine is built in six storeys, each a class on the one below:

    Stock       pysyncobj's state under plain names             stock.py, plain.py
    Electorate  who counts, and how far each one's log goes     electorate.py
    Elector     how a member comes to lead                      elections.py
    Follower    what is taken from a leader                     following.py
    Replicator  what a leader sends, and counts of the answers  replicating.py
    Engine      what goes in, what is applied                   this file

pysyncobj by itself loses acknowledged writes; each rule says what would go wrong without it. The
numbers D1 … D19 are those of `docs/raft.md`.
"""

from __future__ import annotations

from collections.abc import Callable

from cluster.crashpoints import reach
from cluster.errors import BrokenPromise, WireError
from cluster.raft.contract import EngineSettings, Message
from cluster.raft.log import REGULAR
from cluster.raft.replicating import Replicator

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


class Engine(Replicator):
    """One member's consensus state. All of it runs on one thread, between two turns of a loop."""

    def __init__(self, settings: EngineSettings) -> None:
        self.apply_until: Callable[[], int] | None = None  # A bound on what may be applied now.
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

    def leader_contact(self) -> float:
        """Seconds since a leader was heard; on a leader, since a majority last answered it."""
        if not self.is_leader:
            return self.clock() - self._leader_heard_at
        needed = len(self.configuration.members) // 2
        return max(0.0, self.clock() - self.answered_at()[needed - 1]) if needed else 0.0

    def follows(self) -> None:
        if self.is_leader:  # What it said last was as good as a leader's word to it.
            self.heard_leader_until(self.clock() - self.leader_contact())
        super().follows()

    def append(self, command: bytes) -> tuple[int, int]:
        """Add *command* to the leader's log; its fate is told by `apply`.

        Returns:
            Its index and term: whatever is applied at that index with another term is not it.
        """
        return self._append(REGULAR + command)

    @property
    def certain_index(self) -> int:
        """Up to here the log is committed, and on this disk.

        `commit_index` may be ahead of what is so: a leader is counted before its disk has answered.
        """
        return min(self.commit_index, self.log.durable_index)

    @property
    def has_work(self) -> bool:
        """Whether a tick, or applying, could do something now that need not wait for the timer."""
        if self.commit_index > self.applied_index:
            return True
        return self.is_leader and any(
            self._lacks_entries(peer, progress) for peer, progress in self._roster.items()
        )

    def tick(self) -> None:
        """Do what the time asks for, count votes and acknowledgements, send what is called for."""
        self._mind_the_election()
        if self.is_leader:  # Of a follower pysyncobj knows only elections, which are held above.
            self.doTick(0)
            self._mind_what_it_leads()

    def _mind_what_it_leads(self) -> None:
        if not self.is_leader:
            return  # It has just stepped down, without a majority.
        self._mind_the_members()
        self._mind_the_transfer()
        self._replicate_news()

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

    # Messages in.

    def receive(self, peer: str, message: Message) -> bool:
        """Take one message from *peer*, rewritten or refused where pysyncobj would go wrong.

        Returns:
            Whether it may call for a tick, or for something to be applied.

        Raises:
            WireError: a number in it is none that a member could mean.
            BrokenPromise: it contradicts what is committed.
        """
        handler = _RULES.get(message["type"])
        progress = self._roster.get(peer)
        if handler is None or progress is None:
            return False  # Forwarding (D8), stock transfers, chunked commands (D18): not here.
        self._check_numbers(peer, message)
        kind = message["type"]
        look = _CALLS_IF_CHANGED.get(kind)
        before = None if look is None else look(self)
        if handler(self, peer, message):
            self.process(progress.node, message)
            if kind == "append_entries":
                self._adopt_configuration_if_changed()
        if look is not None:
            return look(self) != before
        return kind != "next_node_idx" or not self._is_idle(peer, message)

    def _followed(self) -> object:
        return self.term, self.leader, self.is_candidate

    def _check_numbers(self, peer: str, message: Message) -> None:
        """One broken member must not push the term out of everyone's reach for good."""
        for name in _NUMBERS:
            value = message.get(name, 0)
            if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
                raise WireError(f"{peer} says {name} {value!r:.40}, which is no such number")
        highest = max(message["from_term"], message.get("term", 0))
        if highest > self.term + _TERM_LEAP_MAX:
            raise WireError(f"{peer} says term {highest}, far beyond {self.term}")


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

# Messages that mostly leave things as they are, and what shows that one did not.
_CALLS_IF_CHANGED: dict[str, Callable[[Engine], object]] = {
    "heartbeat": Engine._followed,
    "heartbeat_ack": Engine._confirmed_round,
}
