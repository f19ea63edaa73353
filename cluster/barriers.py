"""Linearizable reads without a log entry: ReadIndex (Ongaro's dissertation, §6.4).

A reader waits for an index at which the leader certainly led after the reader asked: the leader
notes its commit index, begins a round of heartbeats, and hands the index out once a majority has
echoed that round. One round serves all that wait; a follower asks its leader, for all its readers
at once. A read may always be asked for again, so whatever goes wrong is answered by asking anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from cluster.errors import NoQuorum, Overloaded, WireError
from cluster.raft.driver import Driver

WAITING_MAX = 20_000  # Of peers' requests: each asks for all its readers at once.

Waiter = Callable[[int], object]  # Called with the index, once.


class _Round(NamedTuple):
    number: int
    commit_index: int
    waiters: list[Waiter]


class Barriers:
    """Who waits for a read index, on this node and on those that asked it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Waiter] = []
        self._round: _Round | None = None
        self._asked: dict[int, list[Waiter]] = {}  # Requests to the leader, by number.
        self._requests = 0
        self._is_due = False

    async def index(self, deadline: float) -> int:
        """The index that a read which begins now must see, known by *deadline* (loop's clock).

        Raises:
            NoQuorum: no leader confirmed one in time.
        """
        future: asyncio.Future[int] = self._loop.create_future()
        self._add(lambda index: None if future.done() else future.set_result(index))
        try:
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise NoQuorum("no leader confirmed the read in time") from None

    def message(self, peer: str, content: list[Any]) -> None:
        """Take what *peer* asks or answers.

        Raises:
            WireError: it makes no sense.
            Overloaded: more is asked than a peer that waits for answers would ask.
        """
        match content:
            case ["read", int(request)]:
                if len(self._waiting) >= WAITING_MAX:
                    raise Overloaded(f"{peer} asks on without waiting for {WAITING_MAX} answers")
                self._add(lambda index: self._driver.tell(peer, ["read_at", request, index]))
            case ["read_at", int(request), int(index)]:
                for waiter in self._asked.pop(request, ()):
                    waiter(index)
            case _:
                raise WireError(f"a request to read cannot be understood: {content!r:.80}")

    def leader_changed(self) -> None:
        """Ask anew: the leader, its term or the link to it is another."""
        if self._round is not None:
            self._waiting.extend(self._round.waiters)
            self._round = None
        for waiters in self._asked.values():
            self._waiting.extend(waiters)
        self._asked.clear()

    def advance(self) -> None:
        """Begin, confirm or forward, as far as possible now."""
        engine = self._driver.engine
        self._end_round()
        if not self._waiting:
            return
        if engine.is_serving:
            if self._round is None:
                waiters, self._waiting = self._waiting, []
                self._round = _Round(engine.begin_round(), engine.certain_index, waiters)
                self._end_round()  # One that decides alone has nobody to ask.
        elif engine.leader not in (None, engine.node_id):
            self._ask(str(engine.leader))

    def _add(self, waiter: Waiter) -> None:
        self._waiting.append(waiter)
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
            for waiter in confirmed.waiters:
                waiter(confirmed.commit_index)

    def _ask(self, leader: str) -> None:
        self._requests += 1
        if self._driver.tell(leader, ["read", self._requests]):
            self._asked[self._requests], self._waiting = self._waiting, []
