"""Brings what was proposed on this node to whoever leads: into the own log, or over a link.

What one turn of the loop proposes goes together. What fate it meets is the business of
`proposals.py`; what a leader does with it, of `leading.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.codec import Group
from cluster.crashpoints import reach
from cluster.errors import WireError
from cluster.leading import NOBODY, Handed, Leading
from cluster.proposals import Parcel, Proposals
from cluster.raft.driver import Driver
from cluster.raft.link import Link

_REFUSED_SECONDS = 0.05
_EXPIRY_SECONDS = 0.1  # How finely timeouts are kept.


class Dispatcher:
    """Hands this node's proposals over, and takes in what other nodes hand to this one."""

    def __init__(
        self, driver: Driver, *, proposals: Proposals, leading: Leading, origin: str
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._proposals = proposals
        self._leading = leading
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._is_dispatching = False
        self._pause: asyncio.TimerHandle | None = None  # Until the leader is handed parcels again.
        self._expiry: asyncio.TimerHandle | None = None  # While any proposal is open.
        self._is_stopped = False
        self._forwarded_over: Link | None = None  # The last link that carried a parcel.

    def stop(self) -> None:
        """Hand nothing over any more; cancel the timers."""
        self._is_stopped = True
        for timer in (self._expiry, self._pause):
            if timer is not None:
                timer.cancel()

    def dispatch_soon(self) -> None:
        """Hand over in this turn of the loop all that was proposed in it."""
        if not self._is_dispatching:
            self._is_dispatching = True
            self._loop.call_soon(self._dispatch)

    def leader_changed(self) -> None:
        """Send again what a link that is gone may or may not have carried.

        Never on the same link: its copies arrive, and the leader may refuse the first of two and
        take the second.
        """
        link = self._driver.leader_link
        if link not in (None, self._forwarded_over):
            for parcel in self._proposals.sent_in(self._engine.term):
                self._forward(parcel)
        self._resume()

    def applied(
        self, groups: Iterable[Group], replies: Sequence[Any], index: int, term: int
    ) -> None:
        """Answer those of an entry's *groups* that come from here, each with its part of *replies*.

        No leader's word is needed for it: whoever applies an entry sees whose parcels it holds.
        """
        start = 0
        for group in groups:
            stop = start + len(group.commands)
            if group.origin == self._origin:
                self._proposals.committed(group.request, replies[start:stop], index, term)
            elif group.origin == NOBODY:
                self._leading.own_applied()
            start = stop

    def message(self, peer: str, content: list[Any]) -> None:
        """Take what *peer* hands over or refuses.

        Raises:
            WireError: it makes no sense.
        """
        match content:
            case ["propose", int(term), str(origin), int(number), list(commands)]:
                self._leading.take(Handed(peer, term, origin, number, commands))
            case ["refuse", str(origin), int(number), bool(is_overloaded)]:
                if origin == self._origin:
                    self._refused(number, is_overloaded=is_overloaded)
            case _:
                raise WireError(f"a parcel cannot be understood: {content!r:.80}")

    def _dispatch(self) -> None:
        self._is_dispatching = False
        if self._is_stopped:
            return
        self._mind_timeouts()
        engine = self._engine
        if engine.is_serving:
            for parcel in self._proposals.take_parcels(engine.term):
                self._leading.add(self._origin, parcel.number, parcel.commands())
            self._leading.append_entries()
            self._driver.turn()
        elif self._driver.leader_link is not None and self._pause is None:
            for parcel in self._proposals.take_parcels(engine.term):
                self._forward(parcel)

    def _mind_timeouts(self) -> None:
        if self._expiry is None and self._proposals.is_any_open:
            self._expiry = self._loop.call_later(_EXPIRY_SECONDS, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._proposals.expire(self._loop.time())
        self._mind_timeouts()

    def _refused(self, number: int, *, is_overloaded: bool) -> None:
        if is_overloaded:
            self._proposals.shed(number)
        else:
            self._proposals.refused(number)
            self._pause_forwarding()

    def _forward(self, parcel: Parcel) -> None:
        leader = self._engine.leader
        assert leader is not None
        self._forwarded_over = self._driver.leader_link
        reach("replica.before_forward")
        self._driver.tell(
            leader, ["propose", parcel.term, self._origin, parcel.number, parcel.commands()]
        )

    def _pause_forwarding(self) -> None:
        """Leave a leader that refuses alone for a moment: it may not know yet that it leads."""
        if self._pause is None:
            self._pause = self._loop.call_later(_REFUSED_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self.dispatch_soon()
