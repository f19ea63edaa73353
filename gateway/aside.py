"""Work that takes long, done beside the loop: on one thread, one piece after the other.

One, because threads share the interpreter: with eight of them parsing what a stranger sent, the
loop would get a ninth of it, and others would wait for seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway-aside")


async def aside(do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *do* returns or raises, once its turn has come."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, lambda: do(*args, **kwargs))
