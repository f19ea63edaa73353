"""The caller: asks one node after the other until one answers, as long as it is patient.

Almost all may be asked again: what it makes has an id before the first try, and what it changes is
named by a lease token. So a lost answer is asked for again, on another node, and never makes two of
one. Of the other calls (`calling_twice`) a lost answer is the end.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cluster.errors import NoQuorum, OutcomeUnknown, Overloaded, QuorateError
from gateway.calling_twice import READS, is_repeatable
from gateway.client_errors import refusal
from gateway.connection import Answer
from gateway.connections import LOST, UNREACHED, Connections
from gateway.urls import parse_urls

Object = dict[str, Any]

PATIENCE_SECONDS = 30.0  # An election, a restart and a slow disk together take less.
ANSWER_SECONDS = 10.0  # A node gives up on its own after 5 and says whether it happened.
WAITING_MAX = 500  # Calls that wait on a server at one time; a node takes 1,000 of one connection.
CALLING_MAX = 400  # All the others; those beyond wait here.
CROWDED_WAIT_SECONDS = 1.0
WAIT_SECONDS_MAX = 60.0  # For which a node puts an answer off: a turn may take as long to come.
_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # Between rounds of all URLs; the last one stays.
_FULL = 429
_OVERLOADED = "overloaded"
_OF_THE_CLUSTER = frozenset({_OVERLOADED, "cluster_full"})  # Whatever it was that was asked.
_NOTHING: Mapping[str, object] = {}
_TRIED_AGAIN = frozenset({UNREACHED, _FULL, 503, LOST})


class _Asked(NamedTuple):
    """What every node is asked alike."""

    name: str
    body: Mapping[str, object]
    extras: Mapping[str, object]
    answer_seconds: float


class Caller:
    """The nodes of one cluster, and patience with them."""

    def __init__(self, urls: str | Iterable[str], *, patience_seconds: float) -> None:
        self.urls = parse_urls(urls)
        self.patience_seconds = patience_seconds
        self._current = 0  # The URL that answered last is asked first.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Belong to *loop*: what an earlier one had is over with it."""
        self._loop = loop
        self._connections = Connections(on_leaving=self._turn_from)
        self._waiting = asyncio.Semaphore(WAITING_MAX)
        self._calling = asyncio.Semaphore(CALLING_MAX)
        self._heard_at = float("-inf")  # When a call was last answered.
        self._refused: Answer | None = None  # What the newest try was told, if that was no.

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        await self._connections.close()

    async def call(
        self,
        name: str,
        body: Mapping[str, object] = _NOTHING,
        *,
        extras: Mapping[str, object] = _NOTHING,
        wait: float = 0,
        patience_seconds: float | None = None,
        accepts_503: bool = False,
    ) -> Answer:
        """Call the operation until a node answers, which it may put off for *wait* seconds.

        Raises:
            RequestRefused: the answer was no.
            ClusterFull, Overloaded: so it was, until patience was at its end.
            NoQuorum: none answered in time, and it did not happen.
            OutcomeUnknown: none answered in time, and it may have happened.
            TypeError, ValueError, OverflowError: *body* holds what is no value; nothing was sent.
            RuntimeError: another event loop that runs calls through this; nothing was sent.
        """
        patience = self.patience_seconds if patience_seconds is None else patience_seconds
        clock = asyncio.get_running_loop()
        if self._loop is not clock:
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError("a client belongs to one event loop: open one for each")
            self._begin(clock)
        began = clock.time()
        if wait == 0:
            await self._take_turn(self._calling, began, patience)
            try:
                asked = _Asked(name, body, extras, ANSWER_SECONDS)
                until = max(began, self._heard_at) + patience
                return await self._ask_around(asked, until, accepts_503=accepts_503)
            finally:
                self._calling.release()
        await self._take_turn(self._waiting, began, patience + WAIT_SECONDS_MAX)
        try:
            if self._waiting.locked():
                wait = min(wait, CROWDED_WAIT_SECONDS)  # Others want to wait too: in turns.
            waiting = {**body, "wait": round(wait, 3)}
            asked = _Asked(name, waiting, extras, wait + ANSWER_SECONDS)
            until = clock.time() + patience + wait
            return await self._ask_around(asked, until, accepts_503=accepts_503)
        finally:
            self._waiting.release()

    async def _take_turn(self, turns: asyncio.Semaphore, began: float, seconds: float) -> None:
        """Wait for a turn, while the calls before this one are answered or *seconds* last.

        Raises:
            ClusterFull, Overloaded: so were they; this one was not sent.
            NoQuorum: they were not answered; this one was not sent.
        """
        if not turns.locked():
            await turns.acquire()
            return
        clock = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            until = max(began, self._heard_at) + seconds
            if clock.time() < until:
                timer = clock.call_at(until, look)
            else:
                limit.reschedule(until)

        timer = clock.call_at(began + seconds, look)
        try:
            async with asyncio.timeout(None) as limit:
                await turns.acquire()
        except TimeoutError:
            raise self._not_sent() from None
        finally:
            timer.cancel()

    def _not_sent(self) -> QuorateError:
        """What to raise of a call whose turn did not come."""
        if self._refused is not None and self._refused.value.get("code") in _OF_THE_CLUSTER:
            detail = str(self._refused.value.get("detail"))
            return self._refused_for_long(self._refused.status, self._refused.value, detail)
        said = f"no gateway of {', '.join(self.urls)} answered the calls before it"
        return NoQuorum(f"{said}: this one was not sent")

    async def _ask_around(self, asked: _Asked, until: float, *, accepts_503: bool) -> Answer:
        may_have_happened = False
        for tries in itertools.count(1):
            url = self.urls[self._current]
            answered = await self._connections.ask(
                url,
                asked.name,
                asked.body,
                extras=asked.extras,
                answer_seconds=asked.answer_seconds,
            )
            status, answer = answered.status, answered.value
            if status in _TRIED_AGAIN:
                self._refused = answered
            else:
                self._heard_at = asyncio.get_running_loop().time()
                self._refused = None
            if 0 < status < 400 or (status == 503 and accepts_503):
                return answered
            if status not in _TRIED_AGAIN:
                raise refusal(status, answer)
            may_have_happened |= status == LOST and asked.name not in READS
            self._turn_from(url)
            is_over = may_have_happened and not is_repeatable(asked.name, asked.body)
            if is_over or not await self._pause(tries, until):
                trouble = self._in_vain(url, answer.get("detail", f"HTTP {status}"))
                if may_have_happened:
                    raise OutcomeUnknown(trouble)
                raise self._refused_for_long(status, answer, trouble)
        raise AssertionError("unreachable: the count has no end")

    def _turn_from(self, url: str) -> None:
        """Ask the next URL first from now on, unless another call has seen to that."""
        if self.urls[self._current] == url:
            self._current = (self._current + 1) % len(self.urls)

    async def _pause(self, tries: int, until: float) -> bool:
        """Wait a little after each round of all URLs; False when patience is at its end."""
        rounds, place = divmod(tries, len(self.urls))
        pause = 0.0 if place else _PAUSES_SECONDS[min(rounds, len(_PAUSES_SECONDS)) - 1]
        if asyncio.get_running_loop().time() + pause >= until:
            return False
        await asyncio.sleep(pause)
        return True

    def _refused_for_long(self, status: int, answer: Object, trouble: str) -> QuorateError:
        """What to raise after the last try, which brought *answer*: it did not happen."""
        if answer.get("code") == _OVERLOADED:
            return Overloaded(trouble)
        if status == _FULL:
            return refusal(status, answer)
        return NoQuorum(trouble)

    def _in_vain(self, url: str, why: str) -> str:
        if len(self.urls) == 1:
            return f"{url} did not answer in time: {why}"
        return f"no gateway of {', '.join(self.urls)} answered in time; the last: {url}: {why}"
