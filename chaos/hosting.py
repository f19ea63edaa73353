"""Where a run takes place: a target, made for a setting, that is gone when its context ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from chaos.experiments import Setting
from chaos.targets.contract import Target
from chaos.targets.local import LocalTarget
from cluster.settings import ELECTION_SECONDS
from node.children import QUORATE
from node.local import LocalSettings

LOCAL, DOCKER = "local", "docker"
TARGETS = (LOCAL, DOCKER)


class Place(NamedTuple):
    """Which target, and the ports from which on it looks for free ones."""

    target: str = LOCAL
    http_port: int = 5100  # Beside a cluster of `quorate up`, not in its way.
    raft_port: int = 7700  # Of local processes; containers have addresses of their own.

    @classmethod
    def of(cls, target: str, http_port: int) -> Place:
        """A place whose ports, of both sorts, are as far from the usual ones as *http_port* is."""
        usual = cls()
        return cls(target, http_port, usual.raft_port + http_port - usual.http_port)


@contextmanager
def hosted(setting: Setting, place: Place) -> Iterator[Target]:
    """A target for *setting*, not started yet; what it wrote on disk goes with the context.

    Raises:
        Unsupported: it cannot be had on this machine; says what is missing.
    """
    if place.target == DOCKER:
        from chaos.targets.docker import DockerTarget  # noqa: PLC0415 - The SDK is an extra.

        yield DockerTarget(setting, http_port=place.http_port)
        return
    with tempfile.TemporaryDirectory(prefix="quorate-lab-") as data:
        yield LocalTarget(
            LocalSettings(
                data=Path(data),
                nodes=setting.nodes,
                workers=setting.workers,
                http_port=place.http_port,
                raft_port=place.raft_port,
                slots=setting.slots,
                lease_seconds=setting.lease_seconds,
                election_seconds=ELECTION_SECONDS * setting.pace,
                node_program=("chaos.planted_node", setting.bug) if setting.bug else QUORATE,
            )
        )
