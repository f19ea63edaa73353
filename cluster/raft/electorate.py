"""Who counts: the engine's configuration, and the members that come and go by it.

Builds on `stock.py`. A configuration takes effect when it is appended and is undone when it is
truncated; the rules are told in `membership.py`.
"""

from __future__ import annotations

from hashlib import blake2b

from cluster.crashpoints import reach
from cluster.raft.contract import EngineSettings
from cluster.raft.membership import Configuration, Stage, unpack
from cluster.raft.progress import Progress, Roster
from cluster.raft.segments import Entry
from cluster.raft.stock import Peer, Stock


class Electorate(Stock):
    """The members, and what is known of each: who is linked, with which disk, how far."""

    def __init__(self, settings: EngineSettings) -> None:
        self.incarnation = settings.incarnation
        self.configuration = self._base = settings.start.configuration
        self._formed_index = 0  # Where the cluster came to be, unless a snapshot knows it.
        self._adopted: Entry | None = None  # The log entry that it comes from.
        self._hooks = settings.hooks
        self._roster = Roster(settings.node_id, Peer)
        super().__init__(settings)
        self._adopt_configuration()

    @property
    def is_member(self) -> bool:
        """Whether this node's own vote counts."""
        return self.configuration.counts(self.node_id, self.incarnation)

    def match_index(self, peer: str) -> int | None:
        """How far *peer* is known to hold the leader's log; None on a follower."""
        progress = self._roster.get(peer)
        return progress.match_index if self.is_leader and progress is not None else None

    @property
    def may_send_ahead(self) -> bool:
        """Whether entries may leave before this node's own disk has them.

        Where it decides alone it has committed them as it sends them: who hears that applies them.
        """
        return self.is_leader and self.configuration.votes_needed > 1

    @property
    def is_formed(self) -> bool:
        """Whether a majority decides, and is known to know that it does."""
        is_known = self.applied_index >= self._formed_index
        return self.configuration.stage is Stage.FORMED and is_known

    # Links.

    def link_up(self, peer: str, incarnation: str) -> None:
        """Note that messages reach *peer* again; what was in flight before is lost."""
        progress = self._roster.link(peer, incarnation, self.log.last_index + 1)
        if self.configuration.member(peer) is not None:
            self.set_linked(progress.node, is_linked=True)
        if self.is_leader:
            self._push_matches()
            self.replicate_soon()

    def link_down(self, peer: str) -> None:
        """Note that the link to *peer* broke."""
        progress = self._roster.unlink(peer)
        if progress is not None:
            self.set_linked(progress.node, is_linked=False)

    # Changes: one server at a time, effective on append (dissertation, §4.1).

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
        """Whether *peer* is linked and keeps up with this leader's log."""
        progress = self._roster.get(peer)
        if not self.is_leader or progress is None or not progress.is_linked:
            return False
        return progress.has_caught_up(
            self.log.last_index, now=self.clock(), seconds=self.timing.election_min
        )

    def incarnation_of(self, peer: str) -> str | None:
        """What *peer*'s greeting said of its disk, while it is linked."""
        progress = self._roster.get(peer)
        return progress.incarnation if progress is not None and progress.is_linked else None

    def change(self, configuration: Configuration) -> tuple[int, int]:
        """Append *configuration*; the caller has made sure that none is in flight."""
        assert self.has_applied_own_term(), (
            "members change only after the term's own no-op (dissertation, 4.1)"
        )
        assert not self.is_changing, "members change one at a time (D3)"
        reach("engine.before_change")
        position = self._append(configuration.pack())
        self._adopt_configuration()
        reach("engine.after_change")
        return position

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
        self._adopted = entries[-1] if entries else None
        configuration = unpack(entries[-1][0]) if entries else self._base
        self._roster.admit(configuration, self.log.last_index + 1)
        self.set_members(
            {self._roster[m.id].node for m in configuration.members if m.id != self.node_id},
            {progress.node for _, progress in self._roster.items() if progress.is_linked},
        )
        formed = (entry for entry in entries if unpack(entry[0]).stage is Stage.FORMED)
        is_old = self._base.stage is Stage.FORMED
        self._formed_index = 0 if is_old else next(formed, (b"", 0, 0))[1]
        changed = configuration != self.configuration
        self.configuration = configuration
        self._push_matches()
        if changed:
            reach("engine.before_configured")
            self._hooks.configured(configuration)

    def _adopt_configuration_if_changed(self) -> None:
        entries = self.log.configurations
        if (entries[-1] if entries else None) is not self._adopted:
            self._adopt_configuration()

    def _push_matches(self) -> None:
        """Let pysyncobj count only those whose word counts; while forming, only what all hold."""
        is_formed = self.configuration.stage is Stage.FORMED
        others = [m for m in self.configuration.members if m.id != self.node_id]
        held_by_all = min((self._roster[m.id].match_index for m in others), default=0)
        for member in others:
            progress = self._roster[member.id]
            counts = self.configuration.counts(member.id, progress.incarnation)
            match = progress.match_index if counts else 0
            self.set_match(progress.node, match if is_formed else held_by_all)

    def _note_answer(self, peer: str, progress: Progress) -> None:
        if self.configuration.counts(peer, progress.incarnation):
            self.note_answer(progress.node)

    def _mind_the_members(self) -> None:
        """As the leader: form the cluster, and bind anew whoever came back with another disk."""
        if self.is_changing:
            return
        if self.configuration.stage is Stage.UNFORMED:
            self._form()
        elif not self.has_applied_own_term():
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
        """Bind anew a member that came back with another disk, in two steps.

        First it is bound to nothing, which the others alone must commit: a leader that was deposed
        without having noticed cannot. Only then, and caught up, it is bound to its new disk. In one
        step the old majority (with the lost disk) and the new one (with the new disk) need not
        overlap, and a deposed leader commits with the newcomer what contradicts the rest.
        """
        for member in self.configuration.members:
            incarnation = self.incarnation_of(member.id)
            if incarnation is None or incarnation == member.incarnation:
                continue
            if member.incarnation:
                reach("engine.before_unbinding")
                self.change(self.configuration.with_member(member._replace(incarnation="")))
                return
            if self.has_caught_up(member.id):
                bound = member._replace(incarnation=incarnation)
                reach("engine.before_binding")
                self.change(self.configuration.with_member(bound))
                return
