"""The connections of one client: one to each node that it asks, opened when it is first asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from gateway.connection import Answer, AnswerLost, Connection, Unreachable
from gateway.frames import Pushed

UNREACHED = 0
LOST = 504

OnLeaving = Callable[[str], None]


class Connections:
    """The nodes' connections by URL. One that has ended is opened anew by the next call."""

    def __init__(self, on_leaving: OnLeaving) -> None:
        self._on_leaving = on_leaving  # Given the URL of a node that is about to stop.
        self._opened: dict[str, asyncio.Task[Connection]] = {}
        self._leaving: set[Connection] = set()  # Called no more; last answers still come.
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close them all. A later call opens new ones."""
        opened, self._opened = self._opened, {}
        pending = [opening for opening in opened.values() if not opening.done()]
        for opening in pending:
            opening.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        # One that ended may have done so with another loop, and is left alone.
        open_ = [opening.result() for opening in opened.values() if not _has_ended(opening)]
        for connection in (*open_, *self._leaving):
            self._close_soon(connection)
        self._leaving.clear()
        await asyncio.gather(*self._closing)

    async def ask(
        self,
        url: str,
        name: str,
        body: Mapping[str, object],
        *,
        extras: Mapping[str, object],
        answer_seconds: float,
    ) -> Answer:
        """One try's answer; its status is 0 when nobody was reached, 504 when it was lost."""
        try:
            connection = await self._connection(url)
            answer = await connection.call(
                name, body, timeout_seconds=answer_seconds, extras=extras
            )
        except Unreachable as error:
            return Answer(UNREACHED, {"detail": error.reason}, 0)
        except AnswerLost as error:
            return Answer(LOST, {"detail": error.reason}, 0)
        if self._leaving:
            self._let_go(connection)
        return answer

    async def _connection(self, url: str) -> Connection:
        """The open one, or a new one that all who ask for it at this time wait for together."""
        opening = self._opened.get(url)
        if opening is None or _has_ended(opening):
            opening = asyncio.create_task(self._open(url))
            opening.add_done_callback(_has_ended)  # Whoever asked may be gone when it fails.
            self._opened[url] = opening
        if opening.done():
            return opening.result()
        return await asyncio.shield(opening)  # Who stops waiting takes it from nobody else.

    async def _open(self, url: str) -> Connection:
        return await Connection.open(url, on_pushed=lambda pushed: self._hear(url, pushed))

    def _hear(self, url: str, pushed: Pushed) -> None:
        opening = self._opened.get(url)
        if pushed.kind != "leaving" or opening is None or not opening.done():
            return  # One that says so before it was ever called is found out by the first call.
        connection = self._opened.pop(url).result()
        self._leaving = {one for one in self._leaving if not one.closed.is_set()} | {connection}
        self._let_go(connection)
        self._on_leaving(url)

    def _let_go(self, connection: Connection) -> None:
        """Close a leaving node's connection once its last answer has come: the node waits."""
        if connection in self._leaving and (connection.is_idle or connection.closed.is_set()):
            self._leaving.discard(connection)
            self._close_soon(connection)

    def _close_soon(self, connection: Connection) -> None:
        closing = asyncio.create_task(connection.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _has_ended(opening: asyncio.Task[Connection]) -> bool:
    if not opening.done():
        return False
    return opening.cancelled() or bool(opening.exception()) or opening.result().closed.is_set()
