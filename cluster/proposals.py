"""The fate of proposals: each one ends as committed, as not committed, or as unknown.

Proposals travel in *parcels*: what one node hands to one leader in one turn, numbered by that node.
A parcel is one group of one log entry, so it commits whole. Whoever applies an entry sees in it
whose parcel it was; no answer from the leader is needed, and none can be lost.

Two facts make most failures certain. A leader takes a parcel only in the term that it was sent for,
and the terms in a log never fall: once an entry of a later term is applied here, a parcel of an
earlier term that was not seen will never be, and may be sent anew. And a leader remembers the
newest number it took from each node in its term, so that what a broken link may or may not have
carried can simply be sent again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cluster.errors import NoQuorum, OutcomeUnknown

PARCEL_COMMANDS_MAX = 1_000
PARCEL_BYTES_MAX = 1024 * 1024


class Outcome(NamedTuple):
    """What became of a command that was committed."""

    reply: Any
    log_index: int
    term: int


class Proposal:
    """One command and the caller who waits for it."""

    __slots__ = ("deadline", "future", "packed")

    def __init__(self, packed: bytes, future: asyncio.Future[Outcome], deadline: float) -> None:
        self.packed = packed
        self.future = future
        self.deadline = deadline


class Parcel(NamedTuple):
    """What was handed to the leader of *term*, under *number*."""

    number: int
    term: int
    proposals: tuple[Proposal, ...]

    def commands(self) -> list[bytes]:
        """The packed commands, in order."""
        return [proposal.packed for proposal in self.proposals]


class Proposals:
    """This node's own proposals, until each has ended."""

    def __init__(self) -> None:
        self._waiting: deque[Proposal] = deque()
        self._sent: dict[int, Parcel] = {}  # By number, in order of sending.
        self._number = 0

    def __len__(self) -> int:
        """How many are not known to be handed to any leader."""
        return len(self._waiting)

    def add(self, proposal: Proposal) -> None:
        """Take in a new one."""
        self._waiting.append(proposal)

    def take_parcels(self, term: int) -> Iterator[Parcel]:
        """Hand all that waits to the leader of *term*."""
        while self._waiting:
            yield self._take_parcel(term)

    def sent_in(self, term: int) -> list[Parcel]:
        """The parcels of *term* whose fate is open, in order: to be sent again on a new link."""
        return [parcel for parcel in self._sent.values() if parcel.term == term]

    def committed(self, number: int, replies: Sequence[Any], index: int, term: int) -> None:
        """Answer the parcel that was found in the entry at *index*."""
        parcel = self._sent.pop(number, None)
        if parcel is None:
            return
        for proposal, reply in zip(parcel.proposals, replies, strict=True):
            if not proposal.future.done():
                proposal.future.set_result(Outcome(reply, index, term))

    def refused(self, number: int) -> None:
        """Take back a parcel that its leader certainly did not append."""
        parcel = self._sent.pop(number, None)
        if parcel is not None:
            self._waiting.extendleft(reversed(parcel.proposals))

    def term_applied(self, term: int) -> None:
        """Take back every parcel of an earlier term: it is not in the log and never will be."""
        overtaken = [parcel.number for parcel in self._sent.values() if parcel.term < term]
        for number in reversed(overtaken):
            self.refused(number)

    def skipped(self) -> None:
        """Give up on every parcel in flight: a snapshot jumped over where it may have been."""
        for parcel in self._sent.values():
            for proposal in parcel.proposals:
                _end(proposal, _unknown())
        self._sent.clear()

    def expire(self, now: float) -> None:
        """End what has waited too long; whether it happened is certain only if it never left."""
        for parcel in self._sent.values():
            for proposal in parcel.proposals:
                if proposal.deadline <= now:
                    _end(proposal, _unknown())
        if any(proposal.deadline <= now for proposal in self._waiting):
            for proposal in self._waiting:
                if proposal.deadline <= now:
                    _end(proposal, NoQuorum("no leader with a majority was reached in time"))
            self._waiting = deque(p for p in self._waiting if not p.future.done())

    def _take_parcel(self, term: int) -> Parcel:
        taken: list[Proposal] = []
        size = 0
        while self._waiting and len(taken) < PARCEL_COMMANDS_MAX:
            size += len(self._waiting[0].packed)
            if taken and size > PARCEL_BYTES_MAX:
                break
            taken.append(self._waiting.popleft())
        self._number += 1
        parcel = self._sent[self._number] = Parcel(self._number, term, tuple(taken))
        return parcel


def _end(proposal: Proposal, error: Exception) -> None:
    if not proposal.future.done():
        proposal.future.set_exception(error)


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("the command was handed to a leader that did not commit it in time")
