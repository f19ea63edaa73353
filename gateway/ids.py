"""Ids made at the edge, and the edge's only clock and dice.

A UUIDv7 (RFC 9562, §5.7) begins with its birth in Unix milliseconds, so that ids sort by age. Ids
made by one process never go backward: within a millisecond, or when the clock steps back, the
74 random bits count on instead (§6.2, method 2).
"""

from __future__ import annotations

import re
import secrets
import threading
import time

_RANDOM_BITS = 74  # rand_a (12) and rand_b (62).
_COUNTED_BITS = 32  # The most by which one id exceeds the one before it in the same millisecond.
_PATTERN = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)


def wall_ms() -> int:
    """This host's calendar clock, in Unix milliseconds. It may jump."""
    return time.time_ns() // 1_000_000


def random_bits(count: int) -> int:
    """*count* bits that nobody can guess."""
    return secrets.randbits(count)


def new_id() -> str:
    """A new UUIDv7, greater than every other that this process has made."""
    return _sequence.next(wall_ms(), random_bits(_RANDOM_BITS))


def uuid7(unix_ms: int, random: int) -> str:
    """The UUIDv7 of a moment and 74 random bits, in its canonical lower-case form."""
    version_and_a = 0x7000 | random >> 62
    variant_and_b = 1 << 63 | random & (1 << 62) - 1
    digits = f"{unix_ms & (1 << 48) - 1:012x}{version_and_a:04x}{variant_and_b:016x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def normalized(text: str) -> str | None:
    """*text* in lower case if it is a UUID of any version in its canonical form, else None."""
    lowered = text.lower()
    return lowered if _PATTERN.fullmatch(lowered) else None


class Sequence:
    """UUIDv7s that only grow, whatever the clock does."""

    def __init__(self) -> None:
        self._last = 0  # The newest id's moment and random bits, as one number.
        self._lock = threading.Lock()  # A worker's heartbeat has a thread of its own.

    def next(self, unix_ms: int, random: int) -> str:
        """The id for this moment, or the next one after the newest if that is greater."""
        drawn = unix_ms << _RANDOM_BITS | random
        with self._lock:
            if unix_ms <= self._last >> _RANDOM_BITS:
                drawn = self._last + 1 + (random & (1 << _COUNTED_BITS) - 1)
            self._last = drawn
        return uuid7(drawn >> _RANDOM_BITS, drawn & (1 << _RANDOM_BITS) - 1)


_sequence = Sequence()
