"""Bodies: JSON (RFC 8259) and msgpack to plain values and back. Strict with what comes in.

A value is None, a bool, an int of at most 64 bits, a finite float, a str, bytes, or a list or a
dict with str keys of values. JSON says bytes as `{"$bytes": base64}`, so both formats carry the
same values, and what one client wrote in one of them another reads in the other.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgpack

from gateway.ids import random_bits

DEPTH_MAX = 64
INTEGER_MIN = -(1 << 63)
INTEGER_MAX = (1 << 64) - 1
_BYTES_MEMBER = "$bytes"
_PLAIN = frozenset({str, bytes, bool, type(None)})  # Nothing can be wrong with one of these.
_UNPACKED_BYTES_MAX = 4 << 10  # A stored payload up to so long is read sooner than left a gap for.
_MARK_TYPE = 1  # Of the msgpack extension that marks a gap; no answer holds it in the end.


class Format(StrEnum):
    """What a body may be written in: its media type."""

    JSON = "application/json"
    MSGPACK = "application/msgpack"


class Undecodable(ValueError):
    """The bytes are not the format that they claim to be, or break one of its rules here."""


def decode(body: bytes, written_in: Format, *, around: int = 0) -> object:
    """The value that a stranger's *body* holds.

    *around* are the levels of it that are not the body's own, such as a frame's array; negative,
    those that a part of a body lacks.

    Raises:
        Undecodable: says which rule it breaks, and where if that is known.
    """
    try:
        value = _from_json(body) if written_in is Format.JSON else _from_msgpack(body)
    except RecursionError:
        raise _too_deep(around) from None
    _check_tree(value, around)
    return value


def encode(value: object, written_in: Format) -> bytes:
    """*value* in the fewest bytes that the format has for it."""
    if written_in is Format.MSGPACK:
        packed: bytes = msgpack.packb(value)
        return packed
    return _json(value, _tagged)


@dataclass(frozen=True, slots=True)
class Stored:
    """A payload as `encode` wrote it once: put into an answer unread if the formats agree."""

    payload: bytes
    content_type: str

    def written_in(self, format_: Format) -> bytes:
        """The payload's value in the format."""
        if self.content_type == format_:
            return self.payload
        return encode(decode_stored(self.payload, self.content_type), format_)


@dataclass(frozen=True, slots=True)
class Draft:
    """A body with a gap for each stored payload. Filling the gaps is what may take long."""

    parts: list[bytes]  # One more than there are gaps.
    gaps: list[Stored]
    written_in: Format

    @property
    def rewritten_bytes(self) -> int:
        """How much has to be decoded and encoded anew to fill the gaps."""
        others = (gap for gap in self.gaps if gap.content_type != self.written_in)
        return sum(len(gap.payload) for gap in others)

    def filled(self) -> bytes:
        """The whole body."""
        pieces = [self.parts[0]]
        for gap, part in zip(self.gaps, self.parts[1:], strict=True):
            pieces += (gap.written_in(self.written_in), part)
        return b"".join(pieces)


def draft(value: object, written_in: Format) -> Draft:
    """*value*, which may hold `Stored` payloads anywhere, as a body with gaps.

    Gaps are marked with a number that nobody can guess, so that no content can pass for a mark.
    """
    gaps: list[Stored] = []
    if written_in is Format.MSGPACK:
        return _msgpack_draft(value, gaps)
    mark = random_bits(128).to_bytes(16)
    body = _json(value, lambda item: _gap(item, gaps, mark.hex()))
    return Draft(body.split(b'"' + mark.hex().encode() + b'"'), gaps, written_in)


def _msgpack_draft(value: object, gaps: list[Stored]) -> Draft:
    mark = b""

    def fill_or_mark(item: object) -> object:
        nonlocal mark
        if isinstance(item, Stored) and len(item.payload) <= _UNPACKED_BYTES_MAX:
            return decode_stored(item.payload, item.content_type)
        mark = mark or random_bits(128).to_bytes(16)
        return _gap(item, gaps, msgpack.ExtType(_MARK_TYPE, mark))

    body = msgpack.packb(value, default=fill_or_mark)
    parts = body.split(b"\xd8" + bytes((_MARK_TYPE,)) + mark) if gaps else [body]
    return Draft(parts, gaps, Format.MSGPACK)


def is_same(one: object, other: object) -> bool:
    """Whether two values are equal, whatever the order of their members; true is not 1 here."""
    return canonical(one) == canonical(other)


def canonical(value: object) -> str:
    """The one text of all values that are the same; it is for comparing only."""
    return json.dumps(value, sort_keys=True, default=_tagged)


def json_bytes_min(body: bytes) -> int:
    """The fewest bytes that JSON of *body*'s content takes, told without reading it."""
    escapes = body.count(b"\\") + 5 * body.count(b"\\u")
    return len(body.translate(None, b" \t\r\n")) - escapes


def decode_stored(payload: bytes, content_type: str) -> object:
    """The value of a payload that `encode` wrote; of any other content type, its bare bytes."""
    if content_type == Format.JSON:
        return json.loads(payload, object_hook=_untagged)
    if content_type == Format.MSGPACK:
        return msgpack.unpackb(payload)
    return payload


def _from_json(body: bytes) -> object:
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise Undecodable(f"not UTF-8: a wrong byte at offset {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise Undecodable(f"not JSON: {error.msg} at {where}") from None
    except Undecodable:
        raise
    except ValueError:  # Python itself reads no more than some thousand digits.
        raise Undecodable("an integer does not fit 64 bits") from None
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _from_msgpack(body: bytes) -> object:
    try:
        return msgpack.unpackb(
            body, object_pairs_hook=_pure_members, strict_map_key=False, ext_hook=_extension
        )
    except Undecodable:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise Undecodable(f"not msgpack: {error or type(error).__name__}") from None


def _members(pairs: list[tuple[str, object]]) -> object:
    return _untagged(_pure_members(pairs))


def _pure_members(pairs: Iterable[tuple[object, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if type(name) is not str:
            raise Undecodable(f"a map's key is a {type(name).__name__}, keys are strings")
        if name in members:
            raise Undecodable(f"the member {name[:64]!r} appears twice in one object")
        members[name] = value
    return members


def _untagged(members: dict[str, object]) -> object:
    """The bytes that *members* stand for, or *members* themselves when they stand for none."""
    if len(members) != 1:
        return members
    text = members.get(_BYTES_MEMBER)
    if type(text) is not str:
        return members
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return members
    # Only the canonical spelling is bytes: any other would not read back as it was written.
    return content if base64.b64encode(content).decode() == text else members


def _json(value: object, default: Callable[[object], object]) -> bytes:
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default
    ).encode()


def _gap(item: object, gaps: list[Stored], mark: object) -> object:
    """The mark of a gap; of what is no stored payload, what encoding it always gives."""
    if not isinstance(item, Stored):
        return _tagged(item)
    gaps.append(item)
    return mark


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {_BYTES_MEMBER: base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} is no value of ours")


def _constant(name: str) -> object:
    raise Undecodable(f"{name} is not JSON")


def _extension(code: int, _content: bytes) -> object:
    raise Undecodable(f"msgpack extension type {code} is not accepted")


def _too_deep(around: int) -> Undecodable:
    return Undecodable(f"nested deeper than {DEPTH_MAX + min(around, 0)} levels")


def _check_tree(value: object, around: int) -> None:
    """Level by level, so that no depth can exhaust the stack."""
    level: list[object] = [value]
    for _ in range(DEPTH_MAX + around):
        below: list[object] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                below += item.values()  # type: ignore[attr-defined]
            elif kind is list:
                below += item  # type: ignore[arg-type]
            elif kind not in _PLAIN:
                _check_number(item)
        if not below:
            return
        level = below
    for item in level:
        if isinstance(item, dict | list):
            raise _too_deep(around)
        if type(item) not in _PLAIN:
            _check_number(item)


def _check_number(item: object) -> None:
    if isinstance(item, int):
        if not INTEGER_MIN <= item <= INTEGER_MAX:
            raise Undecodable(f"the integer {str(item)[:24]} does not fit 64 bits")
    elif not isinstance(item, float):
        raise Undecodable(f"msgpack's {type(item).__name__} is not accepted")
    elif not math.isfinite(item):
        raise Undecodable("a number is not finite, or does not fit a double")


def _refuse_lone_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False, default=_tagged).encode()
    except UnicodeEncodeError:
        raise Undecodable("a string holds a lone surrogate, which is no character") from None
