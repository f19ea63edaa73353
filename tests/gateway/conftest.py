"""A real single-node cluster with the real gateway, one for each module of tests.

Tests that share it keep apart by ids of their own and, where workers are about, by queues.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from cluster.replica import Replica, ReplicaSettings
from gateway.app import create_app, serve
from gateway.defaults import SubmitDefaults
from gateway.ids import new_id


def free_port() -> int:
    """A port that nothing is bound to now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replica(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replica]:
    """One node that is its own majority."""
    replica = await Replica.start(settings_of(tmp_path_factory.mktemp("node1")))
    yield replica
    await replica.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(replica: Replica) -> AsyncIterator[str]:
    """Where the gateway to the replica answers."""
    runner = await serve(create_app(replica, defaults=SubmitDefaults()), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client whose base is the gateway."""
    async with aiohttp.ClientSession(url) as session:
        yield session


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"queue-{new_id()}"


def settings_of(directory: Path, *, members: dict[str, str] | None = None) -> ReplicaSettings:
    """A node alone, or one of *members*, of whom no other runs."""
    return ReplicaSettings(
        node_id="node1",
        members=members or {"node1": f"127.0.0.1:{free_port()}"},
        data=directory / "data",
        http="127.0.0.1:5000",
    )
