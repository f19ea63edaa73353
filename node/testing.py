"""For tests of programs that use Quorate: a real cluster of one node, in this process.

The very same replica, gateway and workers as elsewhere, on a thread of their own; only the disk is
memory. Tests may have an event loop or none; `node.pytest_plugin` has the fixture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from gateway.app import create_app, open_app
from gateway.defaults import SubmitDefaults
from gateway.portal import Portal
from gateway.serving import serve
from node.memory_host import MemoryHost
from node.tasks import Handler
from node.worker import TaskWorker, WorkerSettings

HOST = "127.0.0.1"
DRAIN_SECONDS = 1.0  # A test that is over waits for no handler.


class MemoryCluster:
    """One node and as many workers as are asked for; they live as long as the context."""

    def __init__(self) -> None:
        self._portal = Portal("quorate-cluster")
        self._workers: list[tuple[TaskWorker, asyncio.Task[None]]] = []

    def __enter__(self) -> Self:
        try:
            self._replica, self._gateway = self._portal.run(_start())
        except BaseException:
            self._portal.close(_nothing())
            raise
        port = self._gateway.addresses[0][1]
        self.url = f"http://{HOST}:{port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._portal.run(self._stop())
        finally:
            self._portal.close(_nothing())

    def serve(self, *handlers: Handler[..., Any], slots: int = 4, tags: Sequence[str] = ()) -> None:
        """Start a worker that runs tasks of these handlers' types, from the queues they name.

        Raises:
            RequestRefused: the cluster does not take such a worker.
        """
        settings = WorkerSettings(
            urls=self.url,
            name=f"worker{len(self._workers) + 1}",
            slots=slots,
            tags=tags,
            drain_seconds=DRAIN_SECONDS,
        )
        self._workers.append(self._portal.run(_work(handlers, settings)))

    async def _stop(self) -> None:
        for worker, _running in self._workers:
            worker.stop()
        try:
            await asyncio.gather(*(running for _worker, running in self._workers))
        finally:
            await self._gateway.cleanup()
            await self._replica.stop()


async def _start() -> tuple[Replica, web.AppRunner]:
    app = create_app(defaults=SubmitDefaults())
    gateway = await serve(app, HOST, 0)
    settings = ReplicaSettings(
        node_id="node1", members={"node1": f"{HOST}:0"}, data=Path("memory"), http=HOST
    )
    try:
        replica = await Replica.start(settings, MemoryHost())
    except BaseException:
        await gateway.cleanup()
        raise
    open_app(app, replica)
    return replica, gateway


async def _work(
    handlers: Iterable[Handler[..., Any]], settings: WorkerSettings
) -> tuple[TaskWorker, asyncio.Task[None]]:
    worker = TaskWorker(handlers, settings)
    running = asyncio.create_task(worker.run())
    joining = asyncio.create_task(worker.joined())
    await asyncio.wait((running, joining), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        joining.cancel()
        await running
    return worker, running


async def _nothing() -> None:
    """Nothing is left to end."""
