"""Frames: what travels on `/connect`, as bytes and back. Pure; strict with what comes in.

A message is one msgpack array of frames, a frame is an array `[kind, …]`:

    to the server      ["call", number, name, body]            and a map of extras, if any
                       ["cancel", number]
    to the client      ["reply", number, status, value, index]
                       ["leased", [lease, …]]  ["orders", {…}]  ["gone", code]  ["leaving"]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from gateway.encoding import Format, Undecodable, decode

PATH = "/connect"
PROTOCOL = "quorate.1"  # The WebSocket's subprotocol.
MESSAGE_BYTES_MAX = 16 << 20
MESSAGE_FRAMES_MAX = 1_000
FRAME_BYTES_MAX = MESSAGE_BYTES_MAX - 1_024  # What a message may hold beside its own few bytes.
NUMBER_MAX = (1 << 63) - 1
HEADERS = frozenset({"traceparent", "prefer"})  # Extras that HTTP has as headers.
EXTRAS = HEADERS | {"consistency", "min_index"}

_FRAME_LEVELS = 1  # Around a call's members, which may be as deep as HTTP's body.
_PROTOCOL_ERROR = 1002  # RFC 6455, §7.4.1.
_UNSUPPORTED = 1003
_INVALID_CONTENT = 1007
_TOO_BIG = 1009
_REASON_BYTES_MAX = 123


class Misframed(Exception):
    """A message cannot be understood: the connection closes with this code and reason."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason.encode("utf-8", "replace")[:_REASON_BYTES_MAX]


class Called(NamedTuple):
    """A call's frame."""

    number: int  # The caller's own; the reply bears it.
    name: str
    members: dict[str, object]  # Of the body, the path and the query alike.
    extras: Mapping[str, object]


class Unreadable(NamedTuple):
    """A call whose members break a rule of ours: it alone is refused."""

    number: int
    reason: str


class Cancelled(NamedTuple):
    """Nobody waits for the reply to that call any more: it is not to be answered."""

    number: int


class Replied(NamedTuple):
    """A reply's frame: status and value are those of the HTTP answer."""

    number: int
    status: int
    value: Any
    index: int  # type: ignore[assignment]  # The applied state that it shows, 0 if none.


class Pushed(NamedTuple):
    """Any other frame to the client: what the server says unasked."""

    kind: str
    content: Any


def not_binary() -> Misframed:
    """The complaint about a message of text."""
    return Misframed(_UNSUPPORTED, "messages are binary: msgpack arrays of frames")


def number_in_use(number: int) -> Misframed:
    """The complaint about a second call of the same number."""
    return Misframed(_PROTOCOL_ERROR, f"call {number} is still in flight: number calls anew")


def split(message: bytes) -> list[bytes]:
    """The frames of a large message as bytes each, found without building what they hold.

    Raises:
        Misframed: the message is no array of as many frames as are allowed.
    """
    reader = msgpack.Unpacker(max_buffer_size=MESSAGE_BYTES_MAX)
    frames: list[bytes] = []
    try:
        reader.feed(message)
        count = reader.read_array_header()
        _check_count(count)
        for _ in range(count):
            start = reader.tell()
            reader.skip()
            frames.append(message[start : reader.tell()])
        end = reader.tell()
    except (ValueError, RecursionError, msgpack.UnpackException, msgpack.BufferFull) as error:
        raise _not_msgpack(error) from None
    if end != len(message):
        raise Misframed(_INVALID_CONTENT, f"{len(message) - end:,} bytes follow the array")
    return frames


Told = Called | Unreadable | Cancelled  # What a client says.


def read_call(frame: bytes) -> Told:
    """One frame of a client from its bytes.

    Raises:
        Misframed: it is none.
    """
    try:
        return _told_here(decode(frame, Format.MSGPACK, around=_FRAME_LEVELS))
    except Undecodable as error:
        return Unreadable(call_number(frame), str(error))


def read_calls(message: bytes) -> list[Told]:
    """All frames of a client's small message.

    Raises:
        Misframed: a frame is none, or the message no array of frames.
    """
    try:
        content = decode(message, Format.MSGPACK, around=_FRAME_LEVELS + 1)
    except Undecodable:
        return [read_call(frame) for frame in split(message)]  # Whoever broke a rule is found.
    return [_told_here(frame) for frame in _frames(content)]


def call_number(frame: bytes) -> int:
    """The number of a call, without a look at its body.

    Raises:
        Misframed: it does not begin as a call does.
    """
    # Nothing nested is built: a million empty arrays in the place of a name would take the loop.
    # (msgpack's compiled reader holds these limits against what it builds, not against headers.)
    reader = msgpack.Unpacker(max_buffer_size=len(frame), max_array_len=0, max_map_len=0)
    reader.feed(frame)
    try:
        size = reader.read_array_header()
        head = [reader.unpack() for _ in range(min(size, 3))]
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise _not_msgpack(error) from None
    return _call([*head, {}]).number


def read_told(message: bytes) -> Iterator[Replied | Pushed]:
    """What a server says; frames of a kind that is not known here are `Pushed` as well.

    Raises:
        Misframed: it does not speak this protocol.
    """
    try:
        frames = msgpack.unpackb(message)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise _not_msgpack(error) from None
    for frame in _frames(frames):
        yield _told(frame)


def message_of(frames: Sequence[bytes]) -> bytes:
    """One message of frames that are packed already."""
    header: bytes = msgpack.Packer().pack_array_header(len(frames))
    return header + b"".join(frames)


def packed_call(
    packer: msgpack.Packer, number: int, name: str, body: object, extras: Mapping[str, object]
) -> bytes:
    """A call's frame.

    Raises:
        TypeError, ValueError, OverflowError: the body holds what msgpack has no form for.
    """
    frame = ["call", number, name, body, extras] if extras else ["call", number, name, body]
    packed: bytes = packer.pack(frame)
    return packed


def packed_cancel(number: int) -> bytes:
    """The frame that takes a call back."""
    packed: bytes = msgpack.packb(["cancel", number])
    return packed


def packed_reply(number: int, status: int, value: bytes, index: int) -> bytes:
    """A reply's frame around a value that is packed already."""
    pack = msgpack.packb
    return b"".join((_REPLY, pack(number), pack(status), value, pack(index)))


def packed(value: object) -> bytes:
    """A plain value of our own."""
    content: bytes = msgpack.packb(value)
    return content


def packed_push(kind: str, content: bytes | None = None) -> bytes:
    """A frame that answers no call, around content that is packed already."""
    if content is None:
        packed: bytes = msgpack.packb([kind])
        return packed
    return b"".join((b"\x92", msgpack.packb(kind), content))


_REPLY: bytes = b"\x95" + msgpack.packb("reply")  # An array of five, the first its kind.


def _not_msgpack(error: Exception) -> Misframed:
    return Misframed(_INVALID_CONTENT, f"not msgpack: {str(error) or type(error).__name__}")


def _frames(message: object) -> list[Any]:
    if not isinstance(message, list):
        raise Misframed(_PROTOCOL_ERROR, "a message is an array of frames")
    _check_count(len(message))
    return message


def _check_count(count: int) -> None:
    if count > MESSAGE_FRAMES_MAX:
        said = f"a message has at most {MESSAGE_FRAMES_MAX:,} frames, this has {count:,}"
        raise Misframed(_TOO_BIG, said)


def _told(frame: Any) -> Replied | Pushed:
    kind = _kind(frame)
    if kind != "reply":
        return Pushed(kind, frame[1] if len(frame) > 1 else None)
    if len(frame) == 5 and all(type(frame[place]) is int for place in (1, 2, 4)):
        return Replied(frame[1], frame[2], frame[3], frame[4])
    raise Misframed(_PROTOCOL_ERROR, 'a reply is ["reply", number, status, value, index]')


def _told_here(frame: Any) -> Called | Cancelled:
    return _cancelled(frame) if _kind(frame) == "cancel" else _call(frame)


def _call(frame: Any) -> Called:
    kind = _kind(frame)
    if kind != "call":
        raise Misframed(_PROTOCOL_ERROR, f"frames of kind {kind[:32]!r} are not known here")
    if len(frame) not in (4, 5) or type(frame[2]) is not str or type(frame[3]) is not dict:
        raise Misframed(_PROTOCOL_ERROR, 'a call is ["call", number, name, body], body a map')
    return Called(_number(frame[1]), frame[2], frame[3], _extras(frame[4:]))


def _cancelled(frame: list[Any]) -> Cancelled:
    if len(frame) != 2:
        raise Misframed(_PROTOCOL_ERROR, 'what takes a call back is ["cancel", number]')
    return Cancelled(_number(frame[1]))


def _number(number: object) -> int:
    if type(number) is not int or not 0 < number <= NUMBER_MAX:
        raise Misframed(_PROTOCOL_ERROR, "a call's number is a positive integer")
    return number


def _kind(frame: object) -> str:
    if type(frame) is list and frame and type(frame[0]) is str:
        return frame[0]
    raise Misframed(_PROTOCOL_ERROR, "a frame is an array that begins with its kind")


def _extras(rest: list[Any]) -> Mapping[str, object]:
    if not rest:
        return {}
    extras = rest[0]
    if not isinstance(extras, dict) or not extras.keys() <= EXTRAS:
        known = ", ".join(sorted(EXTRAS))
        raise Misframed(_PROTOCOL_ERROR, f"a call's extras are a map of {known}")
    return extras
