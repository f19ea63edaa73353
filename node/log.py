"""How our processes log: one line each, to standard error.

`QUORATE_LOG=json` makes every line a JSON object. A line break inside a message, a traceback's
included, is written as `\\n`, so that a line is always one record.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

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


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
