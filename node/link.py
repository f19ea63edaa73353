"""A worker's connection: to any node that serves, and to another one when it no longer does.

Knows no task and no lease: it brings calls there and answers back, and says when it begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from cluster.errors import QuorateError
from gateway.connection import Answer, Connection, Unreachable
from gateway.frames import Pushed
from node.actions import Ask
from node.log import Rarely

PAUSE_SECONDS = 0.5  # No round of all nodes takes less: nothing is asked again in a hot loop.
_UNSPEAKABLE = 422
_NO_ANSWER = 503

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told what comes over the link."""

    def on_open(self, url: str) -> None:
        """A connection to the node at *url* is there."""

    def on_closed(self) -> None:
        """It is there no more; another one follows."""

    def on_pushed(self, pushed: Pushed) -> None:
        """The node says something unasked."""

    def on_answer(self, ask: Ask, status: int, value: Mapping[str, Any]) -> None:
        """A call was answered; 503 where none came, 422 where it could not be said."""


class Link:
    """One connection at a time. Workers begin with different nodes, by their names."""

    def __init__(self, urls: Sequence[str], *, name: str, listener: Listener) -> None:
        first = zlib.crc32(name.encode()) % len(urls)
        self._urls = (*urls[first:], *urls[:first])
        self._listener = listener
        self._connection: Connection | None = None
        self._leaving = asyncio.Event()
        self._place = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._rarely = Rarely(log)

    @property
    def url(self) -> str:
        """The node that the link goes to, or that is tried next."""
        return self._urls[self._place]

    async def run(self) -> None:
        """Stay connected until cancelled."""
        clock = asyncio.get_running_loop()
        try:
            while True:
                next_round_at = clock.time() + PAUSE_SECONDS
                for _ in self._urls:
                    await self._connect_once()
                    self._place = (self._place + 1) % len(self._urls)
                await asyncio.sleep(next_round_at - clock.time())
        finally:
            await asyncio.gather(*self._closing)

    def ask(self, ask: Ask) -> None:
        """Make a call, now or a while from now."""
        connection = self._connection
        if connection is None:
            return  # Whoever asked asks again once there is one.
        if ask.after_seconds:
            asyncio.get_running_loop().call_later(ask.after_seconds, self._ask, connection, ask)
        else:
            self._ask(connection, ask)

    def leave(self, url: str, why: str) -> None:
        """Go to another node than *url*, if the link goes there."""
        if self._connection is not None and self._connection.url == url:
            self._rarely.warn(f"leaving {url} for another node", why)
            self._leaving.set()

    async def _connect_once(self) -> None:
        """Connect to the next node and stay until either end has enough."""
        try:
            connection = await Connection.open(self.url, on_pushed=self._listener.on_pushed)
        except Unreachable as error:
            self._rarely.warn("trying another node", error)
            return
        self._leaving.clear()
        self._connection = connection
        try:
            self._listener.on_open(self.url)
            await self._stay(connection)
        finally:
            self._connection = None
            self._listener.on_closed()
            # A node that does not answer the good-bye must not keep us from the next one.
            closing = asyncio.create_task(connection.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _stay(self, connection: Connection) -> None:
        ends = [asyncio.create_task(event.wait()) for event in (connection.closed, self._leaving)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if connection.closed.is_set():
            self._rarely.warn(f"lost the connection to {connection.url}", connection.close_reason)

    def _ask(self, connection: Connection, ask: Ask) -> None:
        try:
            answered = connection.ask(ask.name, ask.body)
        except Unreachable:
            return
        except (TypeError, ValueError, OverflowError) as error:
            self._listener.on_answer(ask, _UNSPEAKABLE, {"detail": str(error)})
            return
        answered.add_done_callback(partial(self._on_answer, ask))

    def _on_answer(self, ask: Ask, answered: asyncio.Future[Answer]) -> None:
        error = answered.exception()
        if error is None:
            status, value, _index = answered.result()
        else:
            assert isinstance(error, QuorateError), "a connection ends in an error of ours"
            status, value = _NO_ANSWER, {"detail": str(error)}
        self._listener.on_answer(ask, status, value)
