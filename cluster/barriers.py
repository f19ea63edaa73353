"""Linearizable reads without a log entry: ReadIndex (Ongaro's dissertation, §6.4).

A reader waits for an index at which the leader certainly led after the reader asked: the leader
notes its commit index, begins a round of heartbeats, and hands the index out once a majority has
echoed that round. One round serves all that wait; a follower asks its leader, for all its readers
at once. A read may always be asked for again, so whatever goes wrong is answered by asking anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from cluster.errors import NoQuorum, Overloaded, WireError
from cluster.raft.driver import Driver

WAITING_MAX = 20_000  # Of peers' requests: each asks for all its readers at once.


class _Peer(NamedTuple):
    """A node that asked for its readers."""

    name: str
    request: int


_Reader = asyncio.Future[int] | _Peer


class _Round(NamedTuple):
    number: int
    at_index: int
    readers: list[_Reader]


class Barriers:
    """Who waits for a read index, on this node and on those that asked it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[_Reader, None] = {}
        self._round: _Round | None = None
        self._asked: dict[int, list[_Reader]] = {}  # Requests to the leader, by number.
        self._requests = 0
        self._is_due = False

    async def index(self, deadline: float) -> int:
        """The index that a read which begins now must see, known by *deadline* (loop's clock).

        Raises:
            NoQuorum: no leader confirmed one in time.
        """
        future: asyncio.Future[int] = self._loop.create_future()
        self._add(future)
        try:
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise NoQuorum("no leader confirmed the read in time") from None
        finally:
            self._waiting.pop(future, None)

    def message(self, peer: str, content: list[Any]) -> None:
        """Take what *peer* asks or answers.

        Raises:
            WireError: it makes no sense.
            Overloaded: more is asked than a peer that waits for answers would ask.
        """
        match content:
            case ["read", int(request)]:
                if sum(type(reader) is _Peer for reader in self._waiting) >= WAITING_MAX:
                    raise Overloaded(f"{peer} asks on without waiting for {WAITING_MAX} answers")
                self._add(_Peer(peer, request))
            case ["read_at", int(request), int(index)]:
                self._tell(self._asked.pop(request, ()), index)
            case _:
                raise WireError(f"a request to read cannot be understood: {content!r:.80}")

    def leader_changed(self) -> None:
        """Ask anew: the leader, its term or the link to it is another."""
        asked = list(self._asked.values())
        self._asked.clear()
        if self._round is not None:
            asked.append(self._round.readers)
            self._round = None
        for readers in asked:
            self._waiting |= {reader: None for reader in readers if not _has_gone(reader)}

    def link_down(self, peer: str) -> None:
        """Forget what *peer* asked: it asks again over its next link."""
        self._waiting = {reader: None for reader in self._waiting if not _is_of(peer, reader)}
        under_way = list(self._asked.values())
        if self._round is not None:
            under_way.append(self._round.readers)
        for readers in under_way:
            # A process that begins anew counts anew: an older answer would pass for its own.
            readers[:] = [reader for reader in readers if not _is_of(peer, reader)]

    def advance(self) -> None:
        """Begin, confirm or forward, as far as possible now."""
        engine = self._driver.engine
        self._end_round()
        if not self._waiting:
            return
        if engine.is_serving:
            if self._round is None:
                readers = self._take_waiting()
                self._round = _Round(engine.begin_round(), engine.certain_index, readers)
                self._end_round()  # One that decides alone has nobody to ask.
        elif engine.leader not in (None, engine.node_id):
            self._ask(str(engine.leader))

    def _add(self, reader: _Reader) -> None:
        self._waiting[reader] = None
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._advance)  # With all that ask in this turn of the loop.

    def _advance(self) -> None:
        self._is_due = False
        if not self._driver.is_stopped:
            self.advance()

    def _end_round(self) -> None:
        if self._round is not None and self._driver.engine.has_confirmed(self._round.number):
            confirmed, self._round = self._round, None
            self._tell(confirmed.readers, confirmed.at_index)

    def _tell(self, readers: Iterable[_Reader], index: int) -> None:
        for reader in readers:
            if isinstance(reader, _Peer):
                self._driver.tell(reader.name, ["read_at", reader.request, index])
            elif not reader.done():
                reader.set_result(index)

    def _take_waiting(self) -> list[_Reader]:
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def _ask(self, leader: str) -> None:
        self._requests += 1
        if self._driver.tell(leader, ["read", self._requests]):
            self._asked[self._requests] = self._take_waiting()


def _is_of(peer: str, reader: _Reader) -> bool:
    return isinstance(reader, _Peer) and reader.name == peer


def _has_gone(reader: _Reader) -> bool:
    return not isinstance(reader, _Peer) and reader.done()
