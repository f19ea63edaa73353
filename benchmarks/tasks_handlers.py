"""What the workers of the benchmark of whole tasks run: nothing, a nap, or the time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from node import Context, task


@task("benchmark.noop")
async def noop(_context: Context, _data: Any) -> None:
    """Do nothing: what is left is the queue's own cost."""


@task("benchmark.sleep")
async def sleep(_context: Context, seconds: float) -> None:
    """Take so long, and no processor."""
    await asyncio.sleep(seconds)


@task("benchmark.stamp")
async def stamp(_context: Context, _data: Any) -> float:
    """Say when this began, by CLOCK_MONOTONIC: one clock for all processes of a machine."""
    return time.monotonic()
