"""Hooks for schemathesis: how it reads answers in msgpack, and writes bodies in it."""

from __future__ import annotations

from typing import Any

import msgpack
import schemathesis


@schemathesis.deserializer("application/msgpack")
def read(_context: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """An answer's value."""
    return msgpack.unpackb(response.content)


@schemathesis.serializer("application/msgpack")
def write(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """A body."""
    packed: bytes = msgpack.packb(value)
    return packed
