"""The heartbeat of a worker, on a thread, a loop and a connection of its own.

A handler that blocks the worker's loop starves no heartbeat: its lease stands as long as it runs.
What a heartbeat brings back is handed to the worker's loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from cluster.errors import QuorateError
from gateway.connection import Answer, Connection
from node.log import Rarely
from node.session import AGAIN_SECONDS

log = logging.getLogger(__name__)

_FULL = 429
_SESSION_OVER = frozenset({404, 410})


class Listener(Protocol):
    """Whom a pulse tells, on the worker's loop."""

    def on_orders(self, worker_id: str, orders: Mapping[str, Any]) -> None:
        """A heartbeat was taken; it brought back what to cancel, what is lost, whether to drain."""

    def on_session_over(self, worker_id: str) -> None:
        """The cluster knows this session no more."""

    def on_silence(self, url: str) -> None:
        """The node at *url* takes no heartbeats."""


class Held(Protocol):
    """What a heartbeat speaks for; read from the pulse's thread."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The leases that are held."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Which session to keep alive, and how."""

    worker_id: str
    interval_seconds: float  # A third of a lease.

    @property
    def answer_seconds(self) -> float:
        """How long to wait for an answer: so that another node can still be asked in the lease.

        With leases above 10 s it is longer than a node waits for a leader before it says 503.
        """
        return 1.5 * self.interval_seconds


class Pulse:
    """Keeps a worker's newest registration alive while the context lasts."""

    def __init__(self, urls: Sequence[str], held: Held, listener: Listener) -> None:
        self.url = urls[0]  # The node to go through, where the worker's own connection is.
        self._urls = urls
        self._held = held
        self._listener = listener
        self._home = asyncio.get_running_loop()
        self._own_loop = asyncio.new_event_loop()
        self._beat: Beat | None = None
        self._changed = asyncio.Event()
        self._rarely = Rarely(log)
        self._connection: Connection | None = None
        self._beating: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._own_loop.call_soon_threadsafe(self._stop)
        await asyncio.to_thread(self._thread.join)

    def keep(self, beat: Beat) -> None:
        """Keep this session alive from now on, and no other."""
        self._beat = beat
        self._own_loop.call_soon_threadsafe(self._changed.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._own_loop) as runner:
            runner.run(self._beat_until_stopped())

    def _stop(self) -> None:
        self._is_stopped = True
        if self._beating is not None:
            self._beating.cancel()

    async def _beat_until_stopped(self) -> None:
        if not self._is_stopped:
            self._beating = asyncio.create_task(self._keep_beating())
            await asyncio.wait([self._beating])
        if self._connection is not None:
            await self._connection.close()

    async def _keep_beating(self) -> None:
        over: Beat | None = None
        status: int | None = None
        while True:
            beat = self._beat
            if beat is None or beat is over:
                self._changed.clear()
                await self._changed.wait()
                continue
            pause = beat.interval_seconds
            await asyncio.sleep(min(AGAIN_SECONDS, pause) if status == _FULL else pause)
            status = await self._send(beat)
            if status in _SESSION_OVER:
                over = beat

    async def _send(self, beat: Beat) -> int | None:
        """Send a heartbeat through the first node that can serve; its status, None if none can."""
        first = self._urls.index(self.url)
        for url in (*self._urls[first:], *self._urls[:first]):
            try:
                answer = await self._ask(url, beat)
            except QuorateError as error:
                self._note_failure(url, str(error))
                continue
            if answer.status == 200:
                self._tell_home(self._listener.on_orders, beat.worker_id, answer.value)
                return answer.status
            if answer.status in _SESSION_OVER:
                self._tell_home(self._listener.on_session_over, beat.worker_id)
                return answer.status
            if answer.status == _FULL:
                return answer.status  # It is well, and no other need be asked.
            self._note_failure(url, f"{url} answered {answer.status}: {answer.value}")
        return None

    async def _ask(self, url: str, beat: Beat) -> Answer:
        connection = self._connection
        if connection is None or connection.url != url or connection.closed.is_set():
            if connection is not None:
                await connection.close()
            self._connection = connection = await Connection.open(url)
        return await connection.call(
            "heartbeat",
            {"id": beat.worker_id, "lease_tokens": self._held.tokens},
            timeout_seconds=beat.answer_seconds,
        )

    def _note_failure(self, url: str, why: str) -> None:
        self._rarely.warn("no heartbeat was taken, trying on", why)
        self._tell_home(self._listener.on_silence, url)

    def _tell_home(self, callback: Any, *values: Any) -> None:
        try:
            self._home.call_soon_threadsafe(callback, *values)
        except RuntimeError:
            return  # The worker's loop is closed: it needs no news.
