"""Bulk bodies: many objects in one, as a member's list or one a line (NDJSON).

They may be as large as any body, but not of any number of values: sixteen million empty lists fit
into 16 MiB, take a gigabyte once they are read, and the node's loop would stand meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

import msgpack

from gateway.encoding import Format, Undecodable, decode
from gateway.problems import Problem
from gateway.shapes import BATCH_TASKS_MAX

LINES = "application/x-ndjson"
VALUES_MAX = 1_000_000
_LINE = re.compile(rb"[^\s][^\n]*")  # One that is not blank.
_QUOTES_MAX = 2 * VALUES_MAX  # Two a string.


def decode_bulk(content: bytes, media: str, member: str) -> object:
    """The object that a stranger's *content* holds; of lines, one whose *member* lists them.

    Of lines it reads one more than may be in a batch, so that whoever counts them knows.

    Raises:
        Undecodable: it is not what it claims to be.
        Problem: 413, it holds too many values.
    """
    if media == Format.MSGPACK:
        refuse_too_many_packed(content)
        return decode(content, Format.MSGPACK)
    _count_written(content)
    if media == Format.JSON:
        return decode(content, Format.JSON)
    lines = islice(_LINE.finditer(content), BATCH_TASKS_MAX + 1)
    return {member: [_line(content, line) for line in lines]}


def refuse_too_many_packed(content: bytes) -> None:
    """Look whether msgpack holds too many values; what is no msgpack is left to its reader.

    Raises:
        Problem: 413, it does.
    """
    values = 0

    def count(items: Iterable[object]) -> None:
        nonlocal values
        values += 1 + len(list(items))
        if values > VALUES_MAX:
            raise _too_many()

    try:
        msgpack.unpackb(
            content,
            list_hook=count,
            object_pairs_hook=count,
            strict_map_key=False,
            max_array_len=VALUES_MAX,
            max_map_len=VALUES_MAX,
        )
    except (ValueError, msgpack.UnpackException) as error:
        if "exceeds max_" in str(error):
            raise _too_many() from None


def _line(content: bytes, line: re.Match[bytes]) -> object:
    try:
        return decode(line[0], Format.JSON)
    except Undecodable as error:
        number = content.count(b"\n", 0, line.start()) + 1
        raise Undecodable(f"line {number}: {error}") from None


def _count_written(content: bytes) -> None:
    """Refuse JSON of too many values: each but the first of a container has a sign before it."""
    if _signs(content) <= VALUES_MAX:
        return
    plain = content.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > _QUOTES_MAX or _signs(b"".join(plain.split(b'"')[::2])) > VALUES_MAX:
        raise _too_many()


def _signs(content: bytes) -> int:
    return sum(content.count(sign) for sign in (b",", b"[", b"{"))


def _too_many() -> Problem:
    return Problem("too_large", f"the body holds more than {VALUES_MAX:,} values, the limit")
