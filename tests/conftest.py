"""What tests share: real clusters on ports of their own."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from node.local import LocalCluster, LocalSettings

# Below the ports that the kernel hands out to clients, and apart for runs side by side.
_FIRST_PORT = 20_000 + os.getpid() % 500 * 20
_bases = itertools.count(_FIRST_PORT, 10)

StartCluster = Callable[..., Awaitable[LocalCluster]]


@pytest.fixture
def free_port() -> int:
    """A port from which a few are likely to be free; whoever binds looks for the next free one."""
    return next(_bases)


@pytest.fixture
async def start_cluster(tmp_path: Path) -> AsyncIterator[StartCluster]:
    """Start a real cluster and wait until it is ready; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> LocalCluster:
            cluster = LocalCluster(
                LocalSettings(
                    data=tmp_path, http_port=next(_bases), raft_port=next(_bases), **settings
                )
            )
            await stack.enter_async_context(cluster)
            await cluster.start()
            await cluster.wait_ready()
            return cluster

        yield start
