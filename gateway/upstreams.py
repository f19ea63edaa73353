"""The nodes behind a proxy: which of them live, and which one is asked first.

Each is asked for its `/livez` all the time, so that one that is frozen, and holds its connections
without a word, is passed over as one that is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from gateway.problems import Problem

PROBE_SECONDS = 0.5  # Between two questions.
PROBE_ANSWER_SECONDS = 1.0
SILENCES_MAX = 3  # Unanswered in a row; a refused connection needs no second.

_log = logging.getLogger(__name__)


def target_of(request: web.Request) -> str:
    """The path and query as the client wrote them, and nothing that could name another host.

    Raises:
        Problem: the request asks for no path of ours.
    """
    target = request.raw_path
    if not target.startswith("/"):
        raise Problem("bad_request", f"{target[:100]!r} is no path: a path begins with a slash")
    return target


def is_refused(error: BaseException) -> bool:
    """Whether nobody listens there: no name unknown, no silence, no want of descriptors here."""
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    )


class Upstream:
    """One node, and what is being asked of it."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.is_up = True  # Until it is known better.
        self._lent: dict[asyncio.Timeout, bool] = {}  # True: a stream, which ends by itself never.

    @asynccontextmanager
    async def lent(self, *, is_stream: bool = False) -> AsyncIterator[asyncio.Timeout]:
        """Ask it something for as long as it lives; then TimeoutError ends the asking."""
        async with asyncio.timeout(None) as until_down:
            self._lent[until_down] = is_stream
            try:
                yield until_down
            finally:
                del self._lent[until_down]

    def is_stream(self, lent: asyncio.Timeout) -> None:
        """Note that what is being asked turned out to be a stream."""
        self._lent[lent] = True

    def end(self, *, streams_only: bool) -> None:
        """End what is being asked."""
        now = asyncio.get_running_loop().time()
        for until_down, is_stream in self._lent.items():
            if is_stream or not streams_only:
                until_down.reschedule(now)

    def unreached(self, error: Exception) -> None:
        """Note that a connection could not be made: nothing more is asked until it answers.

        What is being asked goes on, unless nobody listens there any more: a packet may be lost.
        """
        self._turn(is_up=False, why=str(error) or type(error).__name__)
        if is_refused(error):
            self.end(streams_only=False)

    def mark(self, *, is_up: bool, why: str = "it answers") -> None:
        """Note whether it lives; what is being asked of one that does not ends."""
        self._turn(is_up=is_up, why=why)
        if not is_up:
            self.end(streams_only=False)

    def _turn(self, *, is_up: bool, why: str) -> None:
        if is_up == self.is_up:
            return
        self.is_up = is_up  # A change is worth a line in the log.
        _log.log(
            logging.INFO if is_up else logging.WARNING,
            "%s at %s is %s: %s",
            self.name,
            self.url,
            "back" if is_up else "passed over",
            why,
        )


class Upstreams:
    """All nodes; the one that answered last is asked first, the others in their order after it."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._all = [Upstream(name, url) for name, url in urls.items()]
        self._first = 0

    def in_turn(self) -> Iterator[Upstream]:
        """Each that lives, once."""
        first = self._first
        for place in range(len(self._all)):
            upstream = self._all[(first + place) % len(self._all)]
            if upstream.is_up:
                yield upstream

    def prefer(self, upstream: Upstream) -> None:
        """Ask it first from now on."""
        self._first = self._all.index(upstream)

    def end_streams(self) -> None:
        """End what would go on for ever; who asked for anything else is still answered."""
        for upstream in self._all:
            upstream.end(streams_only=True)

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Keep asking who lives, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for upstream in self._all:
                group.create_task(_watch(upstream, session))

    def __str__(self) -> str:
        return ", ".join(upstream.url for upstream in self._all)


async def _watch(upstream: Upstream, session: aiohttp.ClientSession) -> None:
    silences = 0
    timeout = aiohttp.ClientTimeout(total=PROBE_ANSWER_SECONDS)
    while True:
        try:
            async with session.get(f"{upstream.url}/livez", timeout=timeout) as answer:
                await answer.read()
        except Exception as error:  # noqa: BLE001 - Whatever it is, the node must be watched on.
            silences += 1
            if silences >= SILENCES_MAX or is_refused(error):
                upstream.mark(is_up=False, why=str(error) or "it is silent")
        else:
            silences = 0
            upstream.mark(is_up=True)
        await asyncio.sleep(PROBE_SECONDS)
