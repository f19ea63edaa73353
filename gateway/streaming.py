"""Streams: what is sent piece by piece, to readers of whom some take nothing any more."""

from __future__ import annotations

import asyncio

from aiohttp import web

STALLED_SECONDS = 15.0  # A reader that takes nothing for so long has gone away.


async def send(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Send *piece*, and cut off a reader that does not take it: nothing more can be told him.

    Raises:
        ConnectionError: the reader is gone, or was cut off.
    """
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await response.write(piece)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reader takes nothing any more") from None
