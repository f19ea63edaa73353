"""Writing: an answer's value as bytes; what takes long is done on a thread."""

from __future__ import annotations

from gateway.aside import aside
from gateway.encoding import Format, draft

INLINE_BYTES_MAX = 64 << 10  # More is decoded or encoded on a thread, so that the loop goes on.


async def written(value: object, format_: Format) -> bytes:
    """*value*, which may hold stored payloads, in the format."""
    body = draft(value, format_)
    if body.rewritten_bytes <= INLINE_BYTES_MAX:
        return body.filled()
    return await aside(body.filled)
