"""The fate of proposals: each one ends as committed, as not committed, or as unknown.

Proposals travel in *parcels*: what one node hands to one leader in one turn, numbered by that node.
A parcel is one group of one log entry, so it commits whole. Whoever applies an entry sees in it
whose parcel it was; no answer from the leader is needed, and none can be lost.

Two facts make most failures certain. A leader takes a parcel only in the term that it was sent for,
and the terms in a log never fall: once an entry of a later term is applied here, a parcel of an
earlier term that was not seen will never be, and may be sent anew. And a leader remembers the
newest number it took from each node in its term, so that what a broken link may or may not have
carried can simply be sent again.

A parcel holds one class of traffic, so that its leader can refuse submissions and take the rest;
what settles and keeps work is handed over before what brings more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from cluster.backlog import Backlog, Traffic
from cluster.errors import NoQuorum, OutcomeUnknown, Overloaded

PARCEL_COMMANDS_MAX = 1_000
PARCEL_BYTES_MAX = 1024 * 1024


class Outcome(NamedTuple):
    """What became of a command that was committed."""

    reply: Any
    log_index: int
    term: int


class Proposal:
    """One command and the caller who waits for it."""

    __slots__ = ("deadline", "future", "packed", "traffic")

    def __init__(
        self,
        packed: bytes,
        traffic: Traffic,
        future: asyncio.Future[Outcome],
        deadline: float,
    ) -> None:
        self.packed = packed
        self.traffic = traffic
        self.future = future
        self.deadline = deadline


class Parcel(NamedTuple):
    """What was handed to the leader of *term*, under *number*."""

    number: int
    term: int
    traffic: Traffic
    proposals: tuple[Proposal, ...]

    def commands(self) -> list[bytes]:
        """The packed commands, in order."""
        return [proposal.packed for proposal in self.proposals]


class Proposals:
    """This node's own proposals, until each has ended."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog  # Counts each from `add` until its end.
        self._waiting: dict[Traffic, deque[Proposal]] = {
            Traffic.UPKEEP: deque(),
            Traffic.SUBMISSION: deque(),
        }
        self._sent: dict[int, Parcel] = {}  # By number, in order of sending.
        self._number = 0

    @property
    def is_any_waiting(self) -> bool:
        """Whether some are not known to be handed to any leader."""
        return any(self._waiting.values())

    @property
    def is_any_open(self) -> bool:
        """Whether the fate of some is not known yet."""
        return bool(self._sent) or self.is_any_waiting

    def add(self, proposal: Proposal) -> None:
        """Take in a new one."""
        self._backlog.add(1, len(proposal.packed))
        self._waiting[proposal.traffic].append(proposal)

    def take_parcels(self, term: int) -> Iterator[Parcel]:
        """Hand all that waits to the leader of *term*, submissions last."""
        for traffic, waiting in self._waiting.items():
            while waiting:
                yield self._take_parcel(term, traffic, waiting)

    def sent_in(self, term: int) -> list[Parcel]:
        """The parcels of *term* whose fate is open, in order: to be sent again on a new link."""
        return [parcel for parcel in self._sent.values() if parcel.term == term]

    def committed(self, number: int, replies: Sequence[Any], index: int, term: int) -> None:
        """Answer the parcel that was found in the entry at *index*."""
        parcel = self._sent.pop(number, None)
        if parcel is None:
            return
        self._ended(parcel.proposals)
        for proposal, reply in zip(parcel.proposals, replies, strict=True):
            if not proposal.future.done():
                proposal.future.set_result(Outcome(reply, index, term))

    def refused(self, number: int) -> None:
        """Take back a parcel that its leader certainly did not append."""
        parcel = self._sent.pop(number, None)
        if parcel is not None:
            self._waiting[parcel.traffic].extendleft(reversed(parcel.proposals))

    def shed(self, number: int) -> None:
        """End a parcel that its leader did not append because it has too much to do."""
        parcel = self._sent.pop(number, None)
        if parcel is None:
            return
        self._ended(parcel.proposals)
        for proposal in parcel.proposals:
            _end(
                proposal,
                Overloaded(f"the leader takes no more {parcel.traffic} now; repeat it later"),
            )

    def term_applied(self, term: int) -> None:
        """Take back every parcel of an earlier term: it is not in the log and never will be."""
        overtaken = [parcel.number for parcel in self._sent.values() if parcel.term < term]
        for number in reversed(overtaken):
            self.refused(number)

    def skipped(self) -> None:
        """Give up on every parcel in flight: a snapshot jumped over where it may have been."""
        for parcel in self._sent.values():
            self._ended(parcel.proposals)
            for proposal in parcel.proposals:
                _end(proposal, _unknown())
        self._sent.clear()

    def expire(self, now: float) -> None:
        """End what has waited too long; whether it happened is certain only if it never left."""
        for parcel in list(self._sent.values()):
            for proposal in parcel.proposals:
                if proposal.deadline <= now:
                    _end(proposal, _unknown())
            if all(proposal.future.done() for proposal in parcel.proposals):
                del self._sent[parcel.number]  # Whatever becomes of it, nobody asks any more.
                self._ended(parcel.proposals)
        for traffic, waiting in self._waiting.items():
            if any(proposal.deadline <= now for proposal in waiting):
                for proposal in waiting:
                    if proposal.deadline <= now:
                        _end(proposal, NoQuorum("no leader with a majority was reached in time"))
                self._ended([p for p in waiting if p.future.done()])
                self._waiting[traffic] = deque(p for p in waiting if not p.future.done())

    def _ended(self, proposals: Collection[Proposal]) -> None:
        self._backlog.remove(len(proposals), sum(len(each.packed) for each in proposals))

    def _take_parcel(self, term: int, traffic: Traffic, waiting: deque[Proposal]) -> Parcel:
        taken: list[Proposal] = []
        size = 0
        while waiting and len(taken) < PARCEL_COMMANDS_MAX:
            size += len(waiting[0].packed)
            if taken and size > PARCEL_BYTES_MAX:
                break
            taken.append(waiting.popleft())
        self._number += 1
        parcel = self._sent[self._number] = Parcel(self._number, term, traffic, tuple(taken))
        return parcel


def _end(proposal: Proposal, error: Exception) -> None:
    if not proposal.future.done():
        proposal.future.set_exception(error)


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("the command was handed to a leader that did not commit it in time")
