"""Handlers of each kind, for the calls beside this file."""

from __future__ import annotations

from node import Context, task


@task("images.resize", queue="images", timeout=60, max_attempts=5)
async def resize(context: Context, url: str, width_px: int = 100) -> bytes:
    return f"{context.task_id} {url} {width_px}".encode()


@task("sum", process=True, priority="high", backoff={"initial": 1, "jitter": 0})
def add(_context: Context, numbers: list[int]) -> int:
    return sum(numbers)


@task("tick")
def tick(_context: Context) -> None: ...
