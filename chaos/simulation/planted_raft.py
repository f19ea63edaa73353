"""Planted bugs of consensus, log and disk: the rules of docs/raft.md, each taken away alone."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from chaos.simulation.disk import Disk
from chaos.simulation.planted import constant, planted, replace, replace_entry
from cluster.errors import StorageDamaged
from cluster.raft import segments
from cluster.raft.driver import Driver, _deliver
from cluster.raft.engine import _RULES, Engine
from cluster.raft.log import Log
from cluster.raft.membership import Configuration
from cluster.raft.segments import Replay


@planted("forget-votes", "D14: a vote is durable before it is given", theme="reborn-voters")
def _forget_votes(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def set_current_term(self: Log, term: int, voted_for: str | None) -> None:
            count = len(self._records)
            original(self, term, voted_for)
            del self._records[count:]

        return set_current_term

    replace(stack, Log, "setCurrentTerm", make)


@planted("send-before-sync", "nothing leaves before what it claims is durable")
def _send_before_sync(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def flush(self: Driver) -> None:
            outbox, self._outbox = self._outbox, []
            _deliver(outbox)
            original(self)

        return flush

    replace(stack, Driver, "_flush", make)


@planted(
    "send-ahead-alone",
    "what a leader commits by itself leaves only once it is durable",
    theme="outrun",
)
def _send_ahead_alone(stack: ExitStack) -> None:
    replace(stack, Engine, "may_send_ahead", lambda _original: property(lambda e: e.is_leader))


@planted("skip-the-fsync", "D14: a generation is synced before it counts as written")
def _skip_the_fsync(stack: ExitStack) -> None:
    replace(stack, Disk, "sync", constant(None))


@planted(
    "apply-beyond-durable",
    "nothing is applied before it is on this disk",
    theme="alone",
)
def _apply_beyond_durable(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def apply_committed(self: Engine) -> bool:
            self.apply_until = None
            return bool(original(self))

        return apply_committed

    replace(stack, Engine, "apply_committed", make)


@planted("truncate-without-conflict", "D2: only a conflict truncates", theme="late-words")
def _truncate_without_conflict(stack: ExitStack) -> None:
    def make(_original: Any) -> Any:
        def strip(self: Engine, message: dict[str, Any]) -> None:
            self._keep_tail = False
            vouched = message["prevLogIdx"] + len(message["entries"])
            message["commit_index"] = min(message["commit_index"], vouched)

        return strip

    replace(stack, Engine, "_strip_matching_prefix", make)


@planted(
    "commit-beyond-vouched",
    "D2: a follower commits up to the last entry it was vouched for",
    theme="short-logs",
)
def _commit_beyond_vouched(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def strip(self: Engine, message: dict[str, Any]) -> None:
            commit = message["commit_index"]
            original(self, message)
            message["commit_index"] = commit

        return strip

    replace(stack, Engine, "_strip_matching_prefix", make)


@planted(
    "acks-of-another-term",
    "D13: an acknowledgement counts in its own term only",
    theme="late-words",
)
def _acks_of_another_term(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def rule(self: Engine, peer: str, message: dict[str, Any]) -> bool:
            message["from_term"] = self.term
            return bool(original(self, peer, message))

        return rule

    replace_entry(stack, _RULES, "next_node_idx", make)


@planted("votes-of-another-term", "D13: a vote counts in its own term only", theme="late-words")
def _votes_of_another_term(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def rule(self: Engine, peer: str, message: dict[str, Any]) -> bool:
            message["from_term"] = message["term"] = self.term
            return bool(original(self, peer, message))

        return rule

    replace_entry(stack, _RULES, "response_vote", make)


@planted("vote-for-anyone", "a voter's log is no newer than its candidate's (Raft, §5.4.1)")
def _vote_for_anyone(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def rule(self: Engine, peer: str, message: dict[str, Any]) -> bool:
            message["last_log_term"] = self.log[-1][2] + 1
            return bool(original(self, peer, message))

        return rule

    replace_entry(stack, _RULES, "request_vote", make)
    replace_entry(stack, _RULES, "pre_vote", make)


@planted(
    "commit-of-an-earlier-term",
    "only entries of its own term are counted (Raft, §5.4.2)",
    theme="figure-eight",
)
def _commit_of_an_earlier_term(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def get_entries(self: Engine, first: int, count: Any = None, size: Any = None) -> Any:
            entries = original(self, first, count, size)
            if count != 1:
                return entries
            return [(command, index, self.term) for command, index, _ in entries]  # As if its own.

        return get_entries

    replace(stack, Engine, "_SyncObj__getEntries", make)


@planted(
    "stale-terms-unanswered",
    "D12: who speaks of an old term is told so",
    theme="estranged-heirs",
)
def _stale_terms_unanswered(stack: ExitStack) -> None:
    replace(stack, Engine, "_answer_stale", constant(None))


@planted(
    "one-step-backtracking",
    "D11: a mismatch leads straight to what must match, and at once",
    theme="long-tails",
)
def _one_step_backtracking(stack: ExitStack) -> None:
    def make(_original: Any) -> Any:
        def answer(self: Engine, node: Any, **told: Any) -> None:
            next_index = told.get("nextNodeIdx")
            if next_index is None:
                next_index = self.log.last_index + 1
            is_reset = bool(told.get("reset"))
            self.dispatch(
                node.id,
                {"type": "next_node_idx", "next_node_idx": next_index, "reset": is_reset},
            )

        return answer

    replace(stack, Engine, "_SyncObj__sendNextNodeIdx", make)
    replace(stack, Engine, "replicate_soon", constant(None))


@planted("leader-never-falls-back", "a leader without a majority stops in time", theme="long-tails")
def _leader_never_falls_back(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def tick(self: Engine) -> None:
            now = self.clock()
            for node in self._SyncObj__lastResponseTime:
                self._SyncObj__lastResponseTime[node] = now
            original(self)

        return tick

    replace(stack, Engine, "tick", make)


@planted("no-pre-vote", "who would lead asks around before it raises its term (§9.6)")
def _no_pre_vote(stack: ExitStack) -> None:
    def mind_the_election(self: Engine) -> None:
        if not self.is_leader and self.election_deadline <= self.clock() and self.is_member:
            self._campaign()

    replace(stack, Engine, "_mind_the_election", lambda _original: mind_the_election)


@planted(
    "no-stickiness", "who hears a leader helps nobody to depose it (§4.2.3)", theme="estranged"
)
def _no_stickiness(stack: ExitStack) -> None:
    def make(_original: Any) -> Any:
        return lambda self: self.is_leader

    replace(stack, Engine, "_hears_a_leader", make)


@planted("wiped-disk-votes", "another incarnation of a member neither votes nor counts")
def _wiped_disk_votes(stack: ExitStack) -> None:
    def make(_original: Any) -> Any:
        def counts(self: Configuration, node_id: str, incarnation: str) -> bool:  # noqa: ARG001
            return self.member(node_id) is not None

        return counts

    replace(stack, Configuration, "counts", make)


@planted(
    "snapshot-commits-the-log", "D1: a snapshot commits up to its own end only", theme="short-logs"
)
def _snapshot_commits_the_log(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def installed(self: Engine, index: int, term: int, configuration: Any) -> None:
            kept = self.log[:]
            original(self, index, term, configuration)
            if self.log.last_index == index:
                for command, at, of_term in kept:
                    if at > index and at == self.log.last_index + 1:
                        self.log.add(command, at, of_term)
            self._SyncObj__raftCommitIndex = self.log.last_index

        return installed

    replace(stack, Engine, "installed", make)


@planted(
    "snapshot-clears-the-log",
    "D4: a tail of the log that extends a snapshot is kept",
    theme="short-logs",
)
def _snapshot_clears_the_log(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def installed(self: Engine, index: int, term: int, configuration: Any) -> None:
            self.log.restart_at(index, term)
            original(self, index, term, configuration)

        return installed

    replace(stack, Engine, "installed", make)


@planted(
    "damage-is-cut",
    "a whole record with a wrong checksum is damage, not a tear",
    theme="bit-rot",
)
def _damage_is_cut(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def frame_body(self: Replay, *given: Any, **named: Any) -> Any:
            try:
                return original(self, *given, **named)
            except StorageDamaged:
                return None

        return frame_body

    replace(stack, Replay, "_frame_body", make)


@planted("tear-is-kept", "a torn end is cut before anything is appended after it")
def _tear_is_kept(stack: ExitStack) -> None:
    replace(stack, segments, "write_file", constant(None))


@planted(
    "read-back-is-durable",
    "what is read back at a start is written anew before it counts",
    theme="page-cache",
)
def _read_back_is_durable(stack: ExitStack) -> None:
    def make(_original: Any) -> Any:
        def write_file(storage: Any, name: str, content: bytes) -> None:
            file = storage._disk.files[name]
            del file.content[len(content) :]
            file.durable_bytes = min(file.durable_bytes, len(content))

        return write_file

    replace(stack, segments, "write_file", make)
