"""The outbox: frames on their way out, all of one turn of the loop in one message.

Either end of a connection has one. Whoever puts frames in bounds it: `room` waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from gateway.frames import MESSAGE_FRAMES_MAX, message_of

QUEUED_BYTES_MAX = 8 << 20  # Beyond it there is no room: whoever can wait has to.
MESSAGE_BYTES_AIMED = 256 << 10  # Of a message; a longer frame goes alone.

Send = Callable[[bytes], Awaitable[None]]


class Outbox:
    """Frames that are packed and not yet in the transport's hands."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0  # Of these, and of the message that is being sent.
        self._filled = asyncio.Event()
        self._sent = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether the other end takes what it is sent about as fast as it comes."""
        return self._bytes < QUEUED_BYTES_MAX

    def put(self, frame: bytes) -> None:
        """Send *frame* with the next message."""
        self._frames.append(frame)
        self._bytes += len(frame)
        self._filled.set()

    async def room(self) -> None:
        """Wait until there is room."""
        while not self.has_room:
            self._sent.clear()
            await self._sent.wait()

    async def flushed(self) -> None:
        """Wait until the transport has everything."""
        while self._bytes:
            self._sent.clear()
            await self._sent.wait()

    async def run(self, send: Send) -> None:
        """Hand over what is put in, until cancelled or until *send* raises."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._frames:
                frames = self._take()
                await send(message_of(frames))
                self._bytes -= sum(map(len, frames))
                self._sent.set()

    def _take(self) -> list[bytes]:
        """The frames of the next message."""
        frames: list[bytes] = []
        size = 0
        while self._frames and len(frames) < MESSAGE_FRAMES_MAX:
            size += len(self._frames[0])
            if frames and size > MESSAGE_BYTES_AIMED:
                break
            frames.append(self._frames.popleft())
        return frames
