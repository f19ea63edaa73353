"""Waiting for something to become true, with a deadline: the one place that polls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.05


async def wait_until(
    condition: Callable[[], Awaitable[T | None]], *, what: str, timeout_seconds: float
) -> T:
    """Ask *condition* until it answers with something true, and return that.

    Raises:
        TimeoutError: the time was up; says what was waited for.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                if answer := await condition():
                    return answer
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"waited {timeout_seconds:g} s for {what}, in vain") from None
