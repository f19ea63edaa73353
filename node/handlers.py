"""What a worker serves when it is given no module: small types to learn and test with."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from node.context import Context, GiveUp
from node.tasks import task

SLEEP_SECONDS_MAX = 86_400


@task("process")
def process(_context: Context, data: Any) -> dict[str, Any]:
    """Say how long the text is, and say it loudly. What is not text is taken as its JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return {
        "processed": data,
        "length": len(text),
        "uppercase": text.upper(),
        "timestamp": _now(),
    }


@task("calculate")
def calculate(_context: Context, number: Any) -> dict[str, Any]:
    """Double a number."""
    _refuse_what_is_no_number("calculate", number)
    return {"input": number, "result": number * 2, "timestamp": _now()}


@task("echo")
async def echo(_context: Context, data: Any) -> Any:
    """Answer what was sent."""
    return data


@task("sleep")
async def sleep(_context: Context, seconds: Any) -> dict[str, Any]:
    """Take as many seconds as asked for, up to a day."""
    _refuse_what_is_no_number("sleep", seconds)
    if not 0 <= seconds <= SLEEP_SECONDS_MAX:
        raise GiveUp(f"sleep takes 0 to {SLEEP_SECONDS_MAX} seconds, not {seconds:g}")
    await asyncio.sleep(seconds)
    return {"slept_seconds": seconds}


@task("fail")
async def fail(_context: Context, message: Any) -> None:
    """Fail, with the message given."""
    raise RuntimeError("asked to fail" if message is None else str(message))


@task("noop")
async def noop(_context: Context, _data: Any) -> None:
    """Do nothing: what is left is the queue's own cost."""


def _refuse_what_is_no_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GiveUp(f"{name} takes a number, not {type(value).__name__}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
