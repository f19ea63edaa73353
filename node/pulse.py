"""The heartbeat of a worker, on a thread and a loop of its own.

A handler that blocks the worker's loop starves no heartbeat: its lease stands as long as it runs.
What a heartbeat brings back is handed to the worker's loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cluster.errors import QuorateError
from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import WorkerLost, WorkerUnknown
from node.log import Rarely

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Whom a pulse tells, on the worker's loop."""

    on_orders: Callable[[Object], None]  # What a heartbeat brought back: cancel, lost, drain.
    on_end: Callable[[], None]  # The cluster knows this session no more.


class Pulse:
    """Keeps one registration alive while the context lasts."""

    def __init__(
        self,
        urls: Sequence[str],
        worker_id: str,
        *,
        interval_seconds: float,
        tokens: Callable[[], tuple[int, ...]],
        listener: Listener,
    ) -> None:
        self._urls = urls
        self._worker_id = worker_id
        self._interval_seconds = interval_seconds
        self._tokens = tokens
        self._listener = listener
        self._home = asyncio.get_running_loop()
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        await asyncio.to_thread(self._started.wait)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._own_loop is not None and not self._own_loop.is_closed():
            self._own_loop.call_soon_threadsafe(self._stopped.set)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        asyncio.run(self._beat_until_stopped())

    async def _beat_until_stopped(self) -> None:
        self._own_loop = asyncio.get_running_loop()
        self._started.set()
        beating = asyncio.create_task(self._beat())
        stopping = asyncio.create_task(self._stopped.wait())
        await asyncio.wait((beating, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (beating, stopping):
            task.cancel()
        await asyncio.gather(beating, stopping, return_exceptions=True)

    async def _beat(self) -> None:
        rarely = Rarely(log)
        # Patience of one interval: a later heartbeat names the leases that are held then.
        async with Client(self._urls, patience_seconds=self._interval_seconds) as client:
            while True:
                await asyncio.sleep(self._interval_seconds)
                try:
                    orders = await client.heartbeat(self._worker_id, self._tokens())
                except (WorkerUnknown, WorkerLost):
                    self._home.call_soon_threadsafe(self._listener.on_end)
                    return
                except QuorateError as error:
                    rarely.warn("no heartbeat was taken, trying on", error)
                    continue
                self._home.call_soon_threadsafe(self._listener.on_orders, orders)
