"""Values as the cluster keeps them: what a handler may return and report."""

from __future__ import annotations

from typing import Any

import msgpack

from cluster.core.model import PAYLOAD_BYTES_MAX
from gateway.encoding import Format, decode


def kept(value: Any) -> Any:
    """A copy of *value* as the cluster would keep it, which no further work of ours changes.

    Checked here because it travels together with other runs' words, which it must not harm.

    Raises:
        TypeError, ValueError, OverflowError: it is no value, or too large; says why.
    """
    if value is None:
        return None
    packed = msgpack.packb(value)
    if len(packed) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"it has {len(packed):,} bytes, the limit is {PAYLOAD_BYTES_MAX:,}")
    return decode(packed, Format.MSGPACK, around=-1)  # What reports it is one level itself.
