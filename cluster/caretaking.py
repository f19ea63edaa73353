"""What a leader sees to by itself: workers of nodes it does not hear, and the machine's version.

It looks at the links and at the state, and proposes what makes the state agree; asking nobody, and
one decision at a time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from cluster.core.commands import Command, RaiseVersion, Resume, Suspend
from cluster.core.machine import Machine
from cluster.core.versions import NEWEST_VERSION
from cluster.errors import UnsupportedVersion
from cluster.leading import Leading
from cluster.raft.driver import Driver

SILENCE_SECONDS = 1.0  # A node's workers are suspended after so long; links ping twice a second.
_LOOK_SECONDS = 0.1


def check_version(machine: Machine, *, newest: int = NEWEST_VERSION) -> None:
    """Hold that this program knows the rules in force.

    Raises:
        UnsupportedVersion: the others went over to later ones; says what to do.
    """
    if machine.version > newest:
        raise UnsupportedVersion(
            f"the cluster went over to machine version {machine.version} at or before entry "
            f"{machine.applied_index}, and this program knows versions up to {newest}: install "
            "the version of Quorate that the other nodes run, and start this node again"
        )


class Caretaker:
    """A leader's own decisions; idle while this node follows."""

    def __init__(
        self, driver: Driver, machine: Machine, *, leading: Leading, newest_version: int
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._machine = machine
        self._leading = leading
        self._newest_version = newest_version
        self._loop = asyncio.get_running_loop()
        self._heard: dict[str, float] = {}  # Node -> when, by the loop's clock.
        self._began = 0.0
        self._looks_next = 0.0

    def begin(self) -> None:
        """Begin to lead: whoever is not linked counts as heard just now."""
        self._heard.clear()
        self._began = self._looks_next = self._loop.time()

    def look(self) -> None:
        """As the leader, look now if it is time to, and decide what is called for."""
        now = self._loop.time()
        if now < self._looks_next:
            return
        self._looks_next = now + _LOOK_SECONDS
        for node, link in self._driver.mesh.links.items():
            self._heard[node] = max(self._heard.get(node, 0.0), link.heard_at)
        decision = self._version() or self._suspension(now)
        if decision is not None:
            self._leading.decide(decision)

    def _suspension(self, now: float) -> Command[Any] | None:
        for node, is_suspended in self._machine.worker_nodes.items():
            is_self = node == self._engine.node_id
            heard_at = now if is_self else self._heard.get(node, self._began)
            is_silent = now - heard_at > SILENCE_SECONDS
            if is_silent and not is_suspended:
                return Suspend(node)
            is_linked = is_self or node in self._driver.mesh.links
            if is_suspended and is_linked and not is_silent:
                return Resume(node)
        return None

    def _version(self) -> Command[Any] | None:
        """The newest version that every member's program supports, if it is not in force yet."""
        newest = self._newest_version
        if newest <= self._machine.version:
            return None
        for member in self._engine.configuration.members:
            if member.id == self._engine.node_id:
                continue
            link = self._driver.mesh.links.get(member.id)
            if link is None or link.greeting is None:
                return None
            newest = min(newest, link.greeting.machine_version)
        return RaiseVersion(newest) if newest > self._machine.version else None
