"""How our processes log: one line each, to standard error.

`QUORATE_LOG=json` makes every line a JSON object. A line break inside a message, a traceback's
included, is written as `\\n`, so that a line is always one record.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import time
from datetime import UTC, datetime

_PLACES = re.compile(r"\S*:\d+\S*|\d+")  # Addresses and counts: they differ, the reason does not.

LEVELS = ("debug", "info", "warning", "error")


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO node1 cluster.raft leads term 4`."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self.process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        line = (
            f"{_timestamp(record)} {record.levelname} {self.process_name} {record.name}"
            f" {record.getMessage()}"
        )
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line.replace("\r", "\\r").replace("\n", "\\n")


class JsonFormatter(logging.Formatter):
    """The same as one JSON object, with the traceback apart."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self.process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        row = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "process": self.process_name,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def configure_logging(process_name: str, *, level: str = "info") -> None:
    """Send every log record of this process to standard error, one line each."""
    wants_json = os.environ.get("QUORATE_LOG", "").lower() == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process_name) if wants_json else LineFormatter(process_name))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # A line a request would drown the rest; the gateway counts requests itself.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


class Rarely:
    """Warns of what goes on for long: at once of a new reason, of the same one now and then."""

    def __init__(self, log: logging.Logger, *, interval_seconds: float = 30.0) -> None:
        self._log = log
        self._interval_seconds = interval_seconds
        self._warned_at: dict[str, float] = {}  # By what was said, places and numbers left out.

    def warn(self, message: str, error: Exception | str) -> None:
        """Warn with *message* and the error's own, unless that was said lately."""
        reason = f"{message} {_PLACES.sub('', str(error))}"
        now = time.monotonic()
        if now - self._warned_at.get(reason, -math.inf) < self._interval_seconds:
            return
        self._warned_at[reason] = now
        self._log.warning("%s: %s", message, error)


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
