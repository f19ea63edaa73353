"""Where the nodes of a local cluster listen: the next free ports from where one asks to begin."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cluster.errors import ConfigurationError
from node.ports import free_ports

HOST = "127.0.0.1"
HTTP_PORT = 5000
RAFT_PORT = 7600


class Place(NamedTuple):
    """Where a node listens on this machine, for as long as the cluster lives."""

    http_port: int
    raft_port: int

    @property
    def url(self) -> str:
        """Its gateway's address."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def raft(self) -> str:
        """Its Raft address."""
        return f"{HOST}:{self.raft_port}"


class PassedOver(NamedTuple):
    """Ports that other programs hold, and the node that would have had the first of them."""

    kind: str  # HTTP or Raft.
    ports: tuple[int, ...]
    node: str
    instead: int


def find_places(nodes: int, *, http_port: int, raft_port: int) -> dict[str, Place]:
    """Give each of so many nodes the next free ports, from those two on.

    Raises:
        ConfigurationError: there are too few.
    """
    http_ports = list(itertools.islice(free_ports(HOST, http_port), nodes))
    raft_ports = (port for port in free_ports(HOST, raft_port) if port not in http_ports)
    places = {
        f"node{number}": Place(http, raft)
        for number, (http, raft) in enumerate(zip(http_ports, raft_ports, strict=False), start=1)
    }
    if len(places) < nodes:
        raise ConfigurationError(f"{nodes} nodes find too few free ports: take a lower one")
    return places


def passed_over(
    places: Mapping[str, Place], *, http_port: int, raft_port: int
) -> Iterator[PassedOver]:
    """For each node the ports from those two on that others held when *places* were found."""
    ours = {port for place in places.values() for port in place}
    for kind, first, ports in (
        ("HTTP", http_port, [place.http_port for place in places.values()]),
        ("Raft", raft_port, [place.raft_port for place in places.values()]),
    ):
        wanted = [first, *(port + 1 for port in ports)]
        for node, port, begin in zip(places, ports, wanted, strict=False):
            taken = tuple(other for other in range(begin, port) if other not in ours)
            if taken:
                yield PassedOver(kind, taken, node, port)
