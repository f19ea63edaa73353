"""The bytes between nodes: length-prefixed msgpack frames, the first of each side a greeting.

No pickle, nothing that can run. A frame is `[channel, content]`; RAFT carries the engine's
messages, REPLICA what the replicas say to each other. What does not fit raises WireError, and the
connection is dropped: a peer that breaks the framing cannot be understood again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from cluster.errors import UnsupportedVersion, WireError

WIRE_VERSION = 1
FRAME_BYTES_MAX = 64 * 1024 * 1024
GREETING_BYTES_MAX = 4 * 1024  # Until it has greeted, a stranger gets no more of our memory.
_LENGTH = struct.Struct(">I")


class Channel(IntEnum):
    """What a frame is about."""

    GREETING = 0
    RAFT = 1  # A list of the engine's messages, in order.
    REPLICA = 2  # One message between replicas: proposals, refusals, read indexes.
    PROOF = 5  # That the sender of a greeting knows the cluster's secret.
    SNAPSHOT = 4  # A snapshot on its way, frame by frame.
    PING = 3  # Nothing but a sign of life.


class Greeting(NamedTuple):
    """Who is speaking. A connection carries nothing else before both sides have agreed to it."""

    wire_version: int
    cluster_id: str  # Empty until the node belongs to a cluster that has formed.
    node_id: str
    incarnation: str
    http: str
    nonce: str  # Fresh for each connection.
    machine_version: int  # The newest that the node's program supports: see `core/versions.py`.


def pack_frame(channel: Channel, content: Any) -> bytes:
    """One frame, ready to be written."""
    body = msgpack.packb((int(channel), content), use_bin_type=True)
    if len(body) > FRAME_BYTES_MAX:
        raise WireError(f"a frame of {len(body)} bytes exceeds the limit of {FRAME_BYTES_MAX}")
    return b"".join((_LENGTH.pack(len(body)), body))


def pack_greeting(greeting: Greeting) -> bytes:
    """The frame that opens a connection."""
    return pack_frame(Channel.GREETING, list(greeting))


def parse_greeting(content: Any) -> Greeting:
    """Check what a peer says of itself.

    Raises:
        WireError: it is no greeting.
        UnsupportedVersion: it speaks another wire version, whatever else it says.
    """
    match content:
        case [int(version), _, str(node_id), *_] if version != WIRE_VERSION:
            raise UnsupportedVersion(
                f"{node_id} speaks wire version {version}; this program speaks {WIRE_VERSION}"
            )
        case [
            int(version),
            str(cluster_id),
            str(node_id),
            str(incarnation),
            str(http),
            str(nonce),
            int(machine_version),
        ]:
            return Greeting(version, cluster_id, node_id, incarnation, http, nonce, machine_version)
        case _:
            raise WireError("the first frame is not a greeting")


class FrameReader:
    """Cuts a stream of bytes into frames, whatever pieces it arrives in."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.bytes_max = GREETING_BYTES_MAX

    def feed(self, content: bytes) -> Iterator[tuple[Channel, Any]]:
        """Yield every frame that *content* completes.

        Raises:
            WireError: a frame is longer than allowed now, or is not ours.
        """
        self._buffer += content
        start = 0
        try:
            while len(self._buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer, start)
                if length > self.bytes_max:
                    raise WireError(
                        f"a frame of {length} bytes exceeds the limit of {self.bytes_max}"
                    )
                end = start + _LENGTH.size + length
                if len(self._buffer) < end:
                    return
                with memoryview(self._buffer) as view, view[start + _LENGTH.size : end] as body:
                    frame = _unpack(body)
                start = end
                yield frame
        finally:
            del self._buffer[:start]


def _unpack(body: memoryview) -> tuple[Channel, Any]:
    try:
        channel, content = msgpack.unpackb(body, raw=False, use_list=True, strict_map_key=False)
        return Channel(channel), content
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"a frame cannot be read: {error}") from error
