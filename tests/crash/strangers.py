"""Whoever else may reach a Raft port: raw connections, and an impostor who passes for a member."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from cluster.raft.security import Security
from cluster.raft.wire import (
    FRAME_BYTES_MAX,
    WIRE_VERSION,
    Channel,
    FrameReader,
    Greeting,
    pack_frame,
    pack_greeting,
    parse_greeting,
)
from tests.crash.nodes import Nodes

DROPPED_SECONDS = 10.0
_CHUNK_BYTES = 64 * 1024


class Stranger:
    """A connection to a node's Raft port that has said nothing yet."""

    def __init__(self, nodes: Nodes, *, victim: str) -> None:
        host, port = nodes.addresses[victim].split(":")
        self._address = (host, int(port))
        self.heard: list[tuple[Channel, Any]] = []
        self._reader = FrameReader()
        self._reader.bytes_max = FRAME_BYTES_MAX

    async def __aenter__(self) -> Self:
        self.input, self.output = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.output.transport.abort()

    async def send(self, content: bytes) -> None:
        """Send raw bytes; into nothing if the node has had enough."""
        try:
            self.output.write(content)
            await self.output.drain()
        except ConnectionError:
            return

    async def frame(self) -> tuple[Channel, Any]:
        """The node's next frame."""
        async with asyncio.timeout(DROPPED_SECONDS):
            while not self.heard:
                content = await self.input.read(_CHUNK_BYTES)
                if not content:
                    raise ConnectionResetError("the node hung up")
                self.heard += self._reader.feed(content)
        return self.heard.pop(0)

    async def until_dropped(self) -> None:
        """Wait until the node hangs up."""
        async with asyncio.timeout(DROPPED_SECONDS):
            try:
                while await self.input.read(_CHUNK_BYTES):
                    pass
            except ConnectionError:
                return


class Impostor(Stranger):
    """Passes for the member *name*, whose own process is gone, and says what it likes."""

    def __init__(
        self,
        nodes: Nodes,
        name: str,
        *,
        victim: str,
        secret: bytes | None = None,
        cluster_id: str = "",
        nonce: str = "n",
    ) -> None:
        super().__init__(nodes, victim=victim)
        self._security = Security(secret=secret)
        self.greeting = Greeting(
            WIRE_VERSION, cluster_id, name, nodes.newest[name].incarnation, "", nonce, 1
        )

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.greet()
        return self

    async def greet(self) -> None:
        """Greet and prove, as the dialling side."""
        mine = pack_greeting(self.greeting)
        await self.send(mine)
        _, content = await self.frame()
        theirs = pack_greeting(parse_greeting(content))
        await self.frame()
        self.proof = pack_frame(Channel.PROOF, self._security.proof(b"dialler", mine, theirs))
        await self.send(self.proof)

    async def say(self, content: Any, *, channel: Channel = Channel.RAFT) -> None:
        """Send one frame as the member."""
        await self.send(pack_frame(channel, content))
