"""A worker's end of `/connect`, as its author would write it: calls, and what is pushed."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.connection import Connection
from gateway.frames import Pushed

WAIT_SECONDS = 10.0


class Peer:
    """Calls, and a queue of what was pushed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.told: asyncio.Queue[Pushed] = asyncio.Queue()
        self.connection: Connection
        self.worker_id = ""

    async def connect(self) -> None:
        """Open a new connection; what the old one is told is not seen any more."""
        self.told = asyncio.Queue()
        self.connection = await Connection.open(self.url, on_pushed=self.told.put_nowait)

    async def call(self, name: str, **members: object) -> Any:
        """The value of an answer that is no problem."""
        answer = await self.connection.call(name, members, timeout_seconds=WAIT_SECONDS)
        assert answer.status < 300, answer
        return answer.value

    async def problem(self, name: str, **members: object) -> str:
        """The code of an answer that is a problem."""
        answer = await self.connection.call(name, members, timeout_seconds=WAIT_SECONDS)
        return str(answer.value["code"])

    async def register(self, queue: str, *, slots: int) -> None:
        """Begin a session."""
        session = await self.call("register", queues=[queue], slots=slots)
        self.worker_id = session["worker_id"]

    async def offer(self, epoch: int, slots: int, **members: object) -> None:
        """Make a standing offer."""
        await self.call("offer", id=self.worker_id, epoch=epoch, slots=slots, **members)

    async def hear(self, kind: str) -> Any:
        """The content of what is pushed next, which is of that kind."""
        async with asyncio.timeout(WAIT_SECONDS):
            pushed = await self.told.get()
        assert pushed.kind == kind, pushed
        return pushed.content

    async def leased(self, count: int) -> list[Any]:
        """The next so many leases, in however many frames."""
        leases: list[Any] = []
        while len(leases) < count:
            leases += await self.hear("leased")
        return leases
