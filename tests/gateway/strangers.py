"""Wrong servers, for clients to meet."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gateway import frames
from gateway.problems import Problem


class stranger:  # noqa: N801 - Used like a function: a context of one wrong server.
    """A server that answers every call with one problem, and keeps the bodies that it was sent."""

    def __init__(
        self,
        problem: Problem,
        seen: list[dict[str, object]] | None = None,
        *,
        says_leaving: bool = False,
        hangs_up: bool = False,
    ) -> None:
        self._problem = problem
        self._says_leaving = says_leaving
        self._hangs_up = hangs_up  # Once it has answered.
        self.peer_closed = asyncio.Event()
        self.connections = 0
        self._seen = [] if seen is None else seen

    async def __aenter__(self) -> str:
        server = web.Server(self._answer)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.WebSocketResponse:
        self.connections += 1
        socket = web.WebSocketResponse(protocols=(frames.PROTOCOL,))
        await socket.prepare(request)
        value = frames.packed(self._problem.body())
        async for message in socket:
            for called in frames.read_calls(message.data):
                self._seen.append(called.members)
                reply = frames.packed_reply(called.number, self._problem.status, value, 0)
                leaving = [frames.packed_push("leaving")] if self._says_leaving else []
                await socket.send_bytes(frames.message_of([*leaving, reply]))
                if self._hangs_up:
                    await socket.close()
        self.peer_closed.set()
        return socket
