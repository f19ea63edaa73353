"""Bodies as they come in: for how long, and how much of them all a process holds at a time.

A WebSocket's message is such a body, but for its refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from aiohttp import web

from gateway.problems import Problem, too_large
from gateway.writing import INLINE_BYTES_MAX

B = TypeVar("B", bytes, bytearray)

BODY_BYTES_MAX = 16 << 20
BODY_SILENCE_SECONDS = 30.0
BODY_SECONDS_MAX = 300.0  # One that trickles in holds memory for no longer.
# Of all bodies at a time, but those so small that nobody need wait for a large one to make room.
HELD_BYTES_MAX = 128 << 20


class Bodies:
    """What all large bodies take that are being read or worked on."""

    def __init__(self) -> None:
        self.bytes_held = 0

    def hold(self, size: int) -> None:
        """Count *size* bytes more, or less.

        Raises:
            Problem: `overloaded`, these are too many.
        """
        self.bytes_held += size
        if size > 0 and self.bytes_held > HELD_BYTES_MAX:
            held = f"{HELD_BYTES_MAX >> 20} MiB of large bodies are being worked on"
            raise Problem("overloaded", f"{held}: send it again later", headers=_CLOSE)

    @contextmanager
    def reading(self, request: web.Request) -> Iterator[Reader]:
        """Hold the body of *request* for as long as the context lasts."""
        reader = Reader(self, request)
        try:
            yield reader
        finally:
            self.bytes_held -= reader.bytes_held


class Reader:
    """One body."""

    def __init__(self, bodies: Bodies, request: web.Request) -> None:
        self._bodies = bodies
        self._request = request
        self.bytes_held = 0

    async def content(self) -> bytes:
        """The body's bytes, as long as they keep coming and are not too many.

        Raises:
            Problem: `too_large`, `request_timeout`, or `overloaded` by other bodies.
        """
        if (self._request.content_length or 0) > BODY_BYTES_MAX:
            raise too_large(BODY_BYTES_MAX)
        if self._request.content.is_eof():  # It came with the headers, as small ones do.
            return self._held(self._request.content.read_nowait())
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                return await self._read()
        except TimeoutError:
            raise _too_slow() from None

    async def _read(self) -> bytes:
        content = bytearray()
        while chunk := await self._chunk():
            content += chunk
            self._held(content)
        return bytes(content)

    async def _chunk(self) -> bytes:
        try:
            async with asyncio.timeout(BODY_SILENCE_SECONDS):
                return await self._request.content.readany()
        except TimeoutError:
            silence = f"nothing of the body came for {BODY_SILENCE_SECONDS:g} seconds"
            raise _timeout(silence) from None

    def _held(self, content: B) -> B:
        """*content*, which is the body so far, counted if it is a large one."""
        size = len(content)
        if size <= INLINE_BYTES_MAX:
            return content
        if size > BODY_BYTES_MAX:
            raise too_large(BODY_BYTES_MAX)
        more, self.bytes_held = size - self.bytes_held, size
        self._bodies.hold(more)
        return content


class Arriving:
    """What has come on one WebSocket and was not worked on: large, if a large message is."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.size = 0  # Bytes, those of small messages too.
        self.bytes_held = 0
        # Done when no more may come: `overloaded` by other bodies, or `request_timeout`.
        self.refused: asyncio.Future[Problem] = self._loop.create_future()

    def came(self, size: int) -> None:
        """So many bytes more have come."""
        self.size += size
        if self.size > INLINE_BYTES_MAX:
            self._hold(self.size)
            if self._timer is None:
                self._timer = self._loop.call_later(BODY_SECONDS_MAX, self._refuse, _too_slow())

    def dropped(self, size: int) -> None:
        """So many of these were of no message, or fewer: some may have been taken with another."""
        self.size = max(0, self.size - size)
        if self.bytes_held:
            self._hold(self.size if self.size > INLINE_BYTES_MAX else 0)

    def taken(self, size: int) -> None:
        """So many of these were worked on. What came after them has its own time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.dropped(size)

    def end(self) -> None:
        """The connection is over."""
        self.taken(self.size)
        self.refused.cancel()

    def _hold(self, size: int) -> None:
        more, self.bytes_held = size - self.bytes_held, size
        try:
            self._bodies.hold(more)
        except Problem as problem:
            self._refuse(problem)

    def _refuse(self, problem: Problem) -> None:
        if not self.refused.done():
            self.refused.set_result(problem)


_CLOSE = {"Connection": "close"}  # The rest of the body is not worth reading.

bodies = Bodies()  # Of the process: memory is the process's.


def _too_slow() -> Problem:
    return _timeout(f"it did not come within {BODY_SECONDS_MAX:g} seconds")


def _timeout(detail: str) -> Problem:
    return Problem("request_timeout", detail, headers=_CLOSE)
