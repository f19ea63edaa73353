"""What docker-compose.yml promises of containers and networks, as the engine has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import docker
import pytest
import pytest_asyncio

from chaos.targets.engine import PROJECT, SERVICE
from tests.docker.conftest import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    with closing(docker.from_env()) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def containers(cluster: Cluster, client: docker.DockerClient) -> dict[str, list[Any]]:
    """What the engine knows of each service's containers."""
    found: dict[str, list[Any]] = {}
    labels = {"label": f"{PROJECT}={cluster.target.project}"}
    for container in client.containers.list(all=True, filters=labels):
        found.setdefault(container.labels[SERVICE], []).append(container.attrs)
    return found


async def test_nobody_is_root_or_writes_outside_its_volumes(
    containers: dict[str, list[Any]],
) -> None:
    for name, each in containers.items():
        for attributes in each:
            host = attributes["HostConfig"]
            assert attributes["Config"]["User"] == "10001:10001", name
            assert host["ReadonlyRootfs"], name
            assert host["CapDrop"] == ["ALL"], name
            assert host["Init"], name


async def test_the_secret_is_made_once_and_every_node_has_it(
    containers: dict[str, list[Any]],
) -> None:
    [secret] = containers["secret"]

    assert (secret["State"]["Status"], secret["State"]["ExitCode"]) == ("exited", 0)
    for node in ("node1", "node2", "node3"):
        [attributes] = containers[node]
        mounts = {mount["Destination"]: mount["RW"] for mount in attributes["Mounts"]}
        assert mounts == {"/data": True, "/secret": False}


async def test_nodes_and_workers_start_again_by_themselves(
    containers: dict[str, list[Any]],
) -> None:
    for name in ("node1", "node2", "node3", "worker"):
        for attributes in containers[name]:
            assert attributes["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


async def test_raft_is_spoken_on_an_internal_network_by_nodes_alone(
    cluster: Cluster, containers: dict[str, list[Any]], client: docker.DockerClient
) -> None:
    raft, http = (f"{cluster.target.project}_{name}" for name in ("raft", "http"))

    assert client.networks.get(raft).attrs["Internal"]
    assert not client.networks.get(http).attrs["Internal"]
    for name, each in containers.items():
        for attributes in each:
            networks = attributes["NetworkSettings"]["Networks"]
            if name.startswith("node"):
                assert f"{name}-raft" in networks[raft]["Aliases"]
                assert f"{name}-raft" not in networks[http]["Aliases"]
            else:
                assert raft not in networks, name


async def test_ports_are_published_on_the_loopback_alone(
    cluster: Cluster, containers: dict[str, list[Any]]
) -> None:
    for name, url in cluster.target.urls.items():
        [attributes] = containers[name]
        [bound] = attributes["HostConfig"]["PortBindings"]["5000/tcp"]
        assert f"http://{bound['HostIp']}:{bound['HostPort']}" == url
        assert bound["HostIp"] == "127.0.0.1"
