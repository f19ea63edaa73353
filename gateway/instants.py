"""Moments between Unix milliseconds and RFC 3339 (§5.6). Reads no clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Moment = datetime | str  # As callers give one: text is RFC 3339 already.

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_CALENDAR_END_MS = 253_402_300_799_999  # The last millisecond of the year 9999, RFC 3339's last.


def parse(written: str) -> int | None:
    """The moment in Unix milliseconds, or None if *written* is none or not in the calendar.

    A leap second's :60 is in no calendar of ours.
    """
    if not _PATTERN.fullmatch(written):
        return None
    try:
        return (datetime.fromisoformat(written.upper()) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


def written(unix_ms: int | None) -> str | None:
    """The moment in UTC with milliseconds, or None. One past the calendar reads as its end."""
    return None if unix_ms is None else _written(unix_ms)


@lru_cache(maxsize=1024)  # What one log entry brings about has one time.
def _written(unix_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=min(unix_ms, _CALENDAR_END_MS))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def of_caller(moment: Moment) -> str:
    """A caller's moment as RFC 3339; what is text already is looked at by the gateway.

    Raises:
        ValueError: it has no time zone, and so names no moment.
    """
    if isinstance(moment, str):
        return moment
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone: give it one, such as datetime.UTC")
    return moment.astimezone(UTC).isoformat()
