"""Frames: what a worker and a coordinator say to each other over one TCP connection.

A frame is its length in four bytes, a kind, a request's id, and content. Its size is bounded, and
so is the time from its first byte to its last: a slow or hostile peer costs its own thread, no
more.
"""

from __future__ import annotations

import socket
import time
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from cluster.errors import QuorateError

PROTOCOL = b"quorate-queuesync 1"
DATA_BYTES_MAX = 1 << 20  # Of a request, and of a response.
FRAME_SECONDS = 10.0  # From a frame's first byte to its last, either way.
NO_ID = "00000000-0000-0000-0000-000000000000"

_LENGTH = Struct(">I")
_HEAD = Struct(">B16s")
_BODY_BYTES_MAX = _HEAD.size + DATA_BYTES_MAX
_CHUNK_BYTES = 64 * 1024


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1  # First from both sides: the protocol's name and version.
    REQUEST = 2
    WAITING = 3  # The request is queued; said again and again, so that silence means a dead peer.
    RESPONSE = 4
    FAILED = 5  # The handler raised; the request is done with, and content says why.
    REFUSED = 6  # The frame breaks a rule; the connection ends, and a repeat would fare no better.
    LATER = 7  # Not now, perhaps elsewhere: ask again. The connection ends.


class Frame(NamedTuple):
    """One message."""

    kind: Kind
    id: str = NO_ID  # Of the request: a UUID.
    content: bytes = b""

    @property
    def text(self) -> str:
        """The content as what a person reads."""
        return self.content.decode(errors="replace")


class FrameError(QuorateError):
    """The peer sent what is no frame. The message says what, and the limit."""


class Deadline:
    """A moment by which something must be done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin to count anew."""
        self._at = time.monotonic() + self._seconds

    @property
    def left_seconds(self) -> float:
        """How long there is; zero or less once it is over."""
        return self._at - time.monotonic()


def hello() -> Frame:
    """The first frame of either side."""
    return Frame(Kind.HELLO, content=PROTOCOL)


def send(peer: socket.socket, frame: Frame) -> None:
    """Send one frame whole.

    Raises:
        OSError: the peer is gone, or did not take it in time.
    """
    body = _HEAD.pack(frame.kind, bytes.fromhex(frame.id.replace("-", ""))) + frame.content
    peer.settimeout(FRAME_SECONDS)
    peer.sendall(_LENGTH.pack(len(body)) + body)


def receive(peer: socket.socket, *, silence_seconds: float) -> Frame | None:
    """The next frame; None when the peer has hung up between two.

    Raises:
        TimeoutError: none began within the silence allowed, or it was not whole in time.
        FrameError: what came is none.
        OSError: the connection broke.
    """
    peer.settimeout(silence_seconds)
    first = peer.recv(1)
    if not first:
        return None
    deadline = Deadline(FRAME_SECONDS)
    (length,) = _LENGTH.unpack(first + _exactly(peer, _LENGTH.size - 1, deadline))
    if not _HEAD.size <= length <= _BODY_BYTES_MAX:
        raise FrameError(
            f"a frame has {_HEAD.size} to {_BODY_BYTES_MAX:,} bytes, and this one says {length:,}"
        )
    body = _exactly(peer, length, deadline)
    number, id_bytes = _HEAD.unpack_from(body)
    try:
        kind = Kind(number)
    except ValueError:
        raise FrameError(f"{number} is no kind of frame: there are 1 to {max(Kind)}") from None
    return Frame(kind, _written(id_bytes), body[_HEAD.size :])


def _written(id_bytes: bytes) -> str:
    """A UUID's sixteen bytes in its canonical form."""
    digits = id_bytes.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _exactly(peer: socket.socket, count: int, deadline: Deadline) -> bytes:
    """So many bytes: memory grows with what has come, not with what was promised."""
    content = bytearray()
    while len(content) < count:
        left_seconds = deadline.left_seconds
        if left_seconds <= 0:
            raise TimeoutError(f"a frame took longer than {FRAME_SECONDS:g} seconds")
        peer.settimeout(left_seconds)
        chunk = peer.recv(min(count - len(content), _CHUNK_BYTES))
        if not chunk:
            raise FrameError(f"the connection ended {len(content)} bytes into {count}")
        content += chunk
    return bytes(content)
