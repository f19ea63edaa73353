"""Members of a bare Raft group: real driver, engine, log and links; a list for a machine."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster.raft.contract import Start, Timing
from cluster.raft.driver import Driver
from cluster.raft.identity import claim
from cluster.raft.log import Log
from cluster.raft.membership import unformed
from cluster.raft.security import Security
from cluster.raft.storage import Directory
from cluster.raft.wire import WIRE_VERSION, Channel, Greeting


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Member:
    """One node whose machine is the list of what it applied."""

    def __init__(
        self, node_id: str, addresses: dict[str, str], data: Path, security: Security
    ) -> None:
        self.node_id = node_id
        self.applied: list[tuple[int, int, bytes]] = []
        self.failure: BaseException | None = None
        self.heard: list[Any] = []
        self.moved = asyncio.Event()
        self.storage = Directory(data / node_id)
        identity = claim(self.storage, node_id=node_id, incarnation=secrets.token_hex(8))
        self.thread = ThreadPoolExecutor(1)
        self.driver = Driver(
            greeting=Greeting(WIRE_VERSION, "", node_id, identity.incarnation, "", "", 1),
            addresses=addresses,
            start=Start(configuration=unformed(addresses)),
            bind=addresses[node_id],
            log=Log.recover(self.storage),
            log_thread=self.thread,
            hooks=self,
            timing=Timing(election_min=0.2, election_max=0.4, heartbeat=0.05, leader_fallback=0.4),
            security=security,
            random=random.random,
            nonce=lambda: secrets.token_hex(8),
        )

    @property
    def engine(self) -> Any:
        return self.driver.engine

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        if command is not None:
            self.applied.append((index, term, command))

    def engine_moved(self) -> None:
        self.moved.set()

    def peer_message(self, peer: str, channel: Channel, content: Any) -> None:
        self.heard.append((peer, channel, content))

    def needs_snapshot(self, peer: str) -> None:
        raise AssertionError(f"nothing is compacted here, so {peer} lacks nothing")

    def link_down(self, peer: str) -> None:
        self.heard.append((peer, None, None))

    def failed(self, error: BaseException) -> None:
        self.failure = error
        self.moved.set()

    def append(self, command: bytes) -> tuple[int, int]:
        position: tuple[int, int] = self.engine.append(command)
        self.driver.wake()
        return position

    async def until(self, holds: Callable[[], Any], seconds: float = 10) -> None:
        """Wait for the turn of the loop after which *holds()* is true."""
        async with asyncio.timeout(seconds):
            while not holds():
                self.moved.clear()
                await self.moved.wait()

    async def turn(self) -> None:
        """Wait for the end of the turn in hand, or of the next one."""
        self.moved.clear()
        await self.moved.wait()

    async def stop(self) -> None:
        await self.driver.stop()
        self.thread.shutdown()
        self.storage.close()


class Group:
    """The members of one group, each of which can be stopped and started again."""

    def __init__(self, size: int, data: Path) -> None:
        self.security: dict[str, Security] = {}
        self.addresses = {f"node{n}": f"127.0.0.1:{free_port()}" for n in range(1, size + 1)}
        self.data = data
        self.members: dict[str, Member] = {}

    async def start(self, node_id: str) -> Member:
        member = self.members[node_id] = Member(
            node_id, self.addresses, self.data, self.security.get(node_id, Security())
        )
        await member.driver.start()
        return member

    async def stop(self, node_id: str) -> None:
        await self.members.pop(node_id).stop()

    async def leader(self) -> Member:
        """Wait for a member that leads and serves."""
        async with asyncio.timeout(10):
            while True:
                for member in self.members.values():
                    if member.engine.is_serving:
                        return member
                await asyncio.wait(
                    [asyncio.ensure_future(m.moved.wait()) for m in self.members.values()],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for member in self.members.values():
                    member.moved.clear()

    def followers(self, leader: Member) -> list[Member]:
        return [member for member in self.members.values() if member is not leader]


@pytest.fixture
async def group(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[Group] = []

    async def make(size: int, security: dict[str, Security] | None = None) -> Group:
        group = Group(size, tmp_path)
        group.security = security or {}
        made.append(group)
        for node_id in group.addresses:
            await group.start(node_id)
        return group

    yield make
    for group in made:
        for node_id in list(group.members):
            await group.stop(node_id)
