"""What a member knows of each other one: the link, the disk behind it, and how far its log goes."""

from __future__ import annotations

import math
from collections.abc import Callable, ItemsView
from typing import Any

from cluster.raft.membership import Configuration


class Progress:
    """One other node. Indexes and rounds are of use to a leader only."""

    __slots__ = (
        "_goal",
        "_goal_set_at",
        "held_index",
        "incarnation",
        "is_linked",
        "match_index",
        "next_index",
        "node",
        "round",
    )

    def __init__(self, node: Any, next_index: int) -> None:
        self.node = node  # What pysyncobj calls it by.
        self.incarnation = ""  # As it last greeted.
        self.is_linked = False
        self.next_index = next_index  # What to send next.
        self.match_index = 0  # Up to here it certainly holds this leader's log.
        self.held_index = 0  # The most that it ever acknowledged in this term.
        self.round = 0  # The newest round of heartbeats that it echoed.
        self._goal = 0  # What a round of catching up is to bring it.
        self._goal_set_at = -math.inf

    def forget(self) -> None:
        """Know nothing of its log."""
        self.match_index = self.held_index = self.round = self._goal = 0
        self._goal_set_at = -math.inf

    def acknowledged(self, index: int) -> None:
        """Note that it holds the log up to *index*; neither number falls on one link (D2)."""
        self.match_index = max(self.match_index, index)
        self.held_index = max(self.held_index, index)
        self.next_index = max(self.next_index, index + 1)

    def has_caught_up(self, last_index: int, *, now: float, seconds: float) -> bool:
        """Whether it has all of the log, or keeps up with it. To be asked again and again.

        A log that grows all the time is never held whole. So what it has at one moment is a round,
        the next one begins with that one's end, and whoever needs less than *seconds* for a round
        keeps up (dissertation, §4.2.1).
        """
        if self.match_index < self._goal:
            return False
        took = now - self._goal_set_at
        self._goal, self._goal_set_at = last_index, now
        return self.match_index >= last_index or took < seconds


class Roster:
    """All other nodes: members, learners, and whoever is linked without being either."""

    def __init__(self, node_id: str, make_node: Callable[[str], Any]) -> None:
        self._node_id = node_id
        self._make_node = make_node
        self._all: dict[str, Progress] = {}
        self._active: dict[str, Progress] = {}
        self._members: tuple[str, ...] = ()
        self.learners: set[str] = set()

    def __getitem__(self, peer: str) -> Progress:
        return self._all[peer]

    def get(self, peer: str) -> Progress | None:
        """What is known of *peer*, if anything is."""
        return self._all.get(peer)

    def items(self) -> ItemsView[str, Progress]:
        """Those that a leader sends its log to, in the order of their ids."""
        return self._active.items()

    def active(self) -> list[str]:
        """Their ids alone."""
        return list(self._active)

    def admit(self, configuration: Configuration, next_index: int) -> None:
        """Take the members of *configuration*, and the learners, for those to send to."""
        self._members = tuple(m.id for m in configuration.members if m.id != self._node_id)
        for peer in (*self._members, *self.learners):
            self._known(peer, next_index)
        self._active = {peer: self._all[peer] for peer in sorted({*self._members, *self.learners})}
        for peer in [p for p, known in self._all.items() if not known.is_linked]:
            if peer not in self._active:
                del self._all[peer]

    def dismiss_learners(self) -> None:
        """Forget who was catching up: the next leader is asked anew."""
        self.learners.clear()
        self._active = {peer: self._all[peer] for peer in sorted(self._members)}

    def link(self, peer: str, incarnation: str, next_index: int) -> Progress:
        """Note a new link. What was in flight on an older one is to be sent again."""
        progress = self._known(peer, next_index)
        if progress.incarnation != incarnation:
            progress.incarnation = incarnation
            progress.forget()
            progress.next_index = next_index
        elif progress.held_index:
            # Its disk may have lied: on a new link it is asked anew how far it goes.
            progress.next_index = progress.held_index + 1
            progress.match_index = 0
        progress.is_linked = True
        return progress

    def unlink(self, peer: str) -> Progress | None:
        """Note that the link is gone."""
        progress = self._all.get(peer)
        if progress is not None:
            progress.is_linked = False
            if peer not in self._active:
                del self._all[peer]
        return progress

    def lead(self, next_index: int) -> None:
        """Begin a term as its leader: nothing is known of anyone's log yet."""
        for progress in self._all.values():
            progress.next_index = next_index
            progress.forget()

    def reached_by(
        self, configuration: Configuration, own: int, value: Callable[[Progress], int]
    ) -> int:
        """The highest number that enough members have reached, *own* being this node's."""
        reached = [own]
        for peer in self._members:
            progress = self._all[peer]
            counts = configuration.counts(peer, progress.incarnation)
            reached.append(value(progress) if counts else 0)
        reached.sort(reverse=True)
        return reached[configuration.votes_needed - 1]

    def _known(self, peer: str, next_index: int) -> Progress:
        if peer not in self._all:
            self._all[peer] = Progress(self._make_node(peer), next_index)
        return self._all[peer]
