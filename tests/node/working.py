"""A worker beside a test, in its process and on its loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from node.tasks import Handler
from node.worker import TaskWorker, WorkerSettings


@contextlib.asynccontextmanager
async def working(
    url: str, *handlers: Handler[..., Any], name: str = "worker", **settings: Any
) -> AsyncIterator[TaskWorker]:
    """Run a worker, and stop it at the end. *url* may be several, with commas between them."""
    worker = TaskWorker(handlers, WorkerSettings(urls=url, name=name, **settings))
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await running
