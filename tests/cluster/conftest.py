"""Clusters of real replicas in one process: real sockets, real disks."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cluster.core.commands import Submit
from cluster.core.model import NewTask
from cluster.core.queries import Count
from cluster.host import Host
from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from cluster.status import Role


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def a_task(task_id: str | None = None) -> Submit:
    task = NewTask.of(task_id or str(uuid.uuid4()), "echo", b"1", "application/json")
    return Submit((task,))


class Cluster:
    def __init__(self, size: int, data: Path, options: dict[str, Any]) -> None:
        self.addresses = {f"node{n}": f"127.0.0.1:{free_port()}" for n in range(1, size + 1)}
        self.data = data
        self.options = options
        self.replicas: dict[str, Replica] = {}

    async def start(self, node_id: str, *, host: Host | None = None) -> Replica:
        settings = ReplicaSettings(
            node_id=node_id,
            members=self.addresses,
            data=self.data / node_id,
            http=f"{node_id}.example:80",
            **self.options,
        )
        replica = self.replicas[node_id] = await Replica.start(settings, host)
        return replica

    async def stop(self, node_id: str) -> None:
        await self.replicas.pop(node_id).stop()

    def leader(self) -> Replica:
        return next(r for r in self.replicas.values() if r.status().role is Role.LEADER)

    def follower(self) -> Replica:
        return next(r for r in self.replicas.values() if r.status().role is not Role.LEADER)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Cluster]]]:
    made: list[Cluster] = []

    async def make(size: int, start: Iterable[str] | None = None, **options: Any) -> Cluster:
        cluster = Cluster(size, tmp_path, options)
        made.append(cluster)
        for node_id in cluster.addresses if start is None else start:
            await cluster.start(node_id)
        if start is None:
            await next(iter(cluster.replicas.values())).read(Count())
        return cluster

    yield make
    for cluster in made:
        for node_id in list(cluster.replicas):
            await cluster.stop(node_id)


MakeCluster = Callable[..., Awaitable[Cluster]]
