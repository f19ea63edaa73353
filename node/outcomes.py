"""What comes of a run, as a value, and the words in which a failure is told.

Knows no network and no handler: whoever holds the lease reports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.context import GiveUp

ERROR_CHARACTERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or was stopped; *retry* says whether another try could help."""

    error: str
    retry: bool = True


Outcome = Completed | Failed

STOPPED = Failed("stopped before it finished")


class HandlerExitedError(Exception):
    """A handler called `sys.exit` or raised what Ctrl-C does: that ends its task, not the worker.

    In a task or a callback that an async handler made itself it does end the worker: asyncio raises
    it out of the loop, where nobody can tell whose it was.
    """


class ProcessFailedError(Exception):
    """A handler's process ended before its handler did, or tells what its handler raised."""


def failure(error: BaseException) -> Failed:
    """The failure that *error* is: `ValueError: what it said`, bare where the type adds nothing."""
    is_bare = isinstance(error, GiveUp | ProcessFailedError)
    said = _said_by(error)
    text = said if is_bare else f"{type(error).__name__}: {said}"
    return Failed(_sayable(text), retry=not isinstance(error, GiveUp))


def unspeakable(error: Exception) -> Failed:
    """The failure of a run whose result cannot be told: nor could the next attempt's."""
    return Failed(_sayable(f"the result cannot be reported: {error}"), retry=False)


def _said_by(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001 - Its class is the handler's, and may be broken.
        return f"telling it raised {type(another).__name__}"


def _sayable(text: str) -> str:
    """As much of *text* as is told, with lone surrogates, which no encoding has, written out."""
    return text[:ERROR_CHARACTERS_MAX].encode("utf-8", "backslashreplace").decode()
