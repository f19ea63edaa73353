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
from aiohttp import web

from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from gateway.app import create_app, open_app
from gateway.defaults import SubmitDefaults
from gateway.ids import new_id
from gateway.serving import serve


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def free_port() -> int:
    """A port that nothing is bound to now."""
    return _free_port()


@pytest.fixture
def minority(tmp_path: Path) -> ReplicaSettings:
    """One of three nodes, of whom no other runs: it never has a quorum."""
    members = {f"node{n}": f"127.0.0.1:{_free_port()}" for n in (1, 2, 3)}
    return ReplicaSettings(
        node_id="node1", members=members, data=tmp_path / "data", http="127.0.0.1:5000"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replica(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replica]:
    """One node that is its own majority."""
    settings = ReplicaSettings(
        node_id="node1",
        members={"node1": f"127.0.0.1:{_free_port()}"},
        data=tmp_path_factory.mktemp("node1") / "data",
        http="127.0.0.1:5000",
    )
    replica = await Replica.start(settings)
    yield replica
    await replica.stop()


async def serve_replica(replica: Replica) -> web.AppRunner:
    """A gateway to *replica*, on a free port."""
    app = create_app(defaults=SubmitDefaults())
    runner = await serve(app, "127.0.0.1", 0)
    open_app(app, replica)
    return runner


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(replica: Replica) -> AsyncIterator[str]:
    """Where the gateway to the replica answers."""
    runner = await serve_replica(replica)
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
