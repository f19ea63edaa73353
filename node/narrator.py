"""How `quorate up` speaks: one line an event, for a person or for a machine.

Prints, and decides nothing. Colour only on a terminal, and never with NO_COLOR.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

# What `node.log` puts before a message: a terminal line needs only the level, when it matters.
_LOG_LINE = re.compile(r"^\S+Z (?P<level>[A-Z]+) \S+ \S+ (?P<message>.*)$")
_BREAK = r"\n"  # How `node.log` writes a line break.
_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
_COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green")


def is_routine(line: str) -> bool:
    """Whether a child's line only tells what goes as it should."""
    found = _LOG_LINE.match(line)
    return found is not None and found["level"] in {"DEBUG", "INFO"}


def _without_traceback(message: str) -> str:
    """The message with no more than the last line of its traceback: the log file has the rest."""
    head, *lines = message.split(_BREAK)
    if not any(line.endswith("Traceback (most recent call last):") for line in lines):
        return message
    raised = [line for line in lines if re.match(r"[\w.]+(:|$)", line)]
    return f"{head}: {raised[-1]}" if raised else head


class Narrator(Protocol):
    """Told what happens, says it in its own form."""

    def say(self, event: str, text: str, **fields: Any) -> None:
        """Something happened: *text* for people, *event* and *fields* for machines."""

    def line(self, process: str, line: str) -> None:
        """A child process wrote *line*."""


@contextlib.contextmanager
def _told_or_not() -> Iterator[None]:
    """A disk that is full, or no output at all, ends no cluster; a reader that has gone does."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        pass


class HumanNarrator:
    """Sentences, and the children's lines behind their names."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._colours: dict[str, str] = {}

    def say(self, event: str, text: str, **_fields: Any) -> None:
        """Print the sentence; a failure stands out."""
        style = "bold red" if event in {"died", "failed"} else "bold"
        with _told_or_not():
            self._console.print(Text(text, style=style))

    def line(self, process: str, line: str) -> None:
        """Print the line behind the process's name, without what a terminal does not need."""
        colour = self._colours.setdefault(process, _COLOURS[len(self._colours) % len(_COLOURS)])
        found = _LOG_LINE.match(line)
        message = _without_traceback(found["message"]) if found else line
        style = _STYLES.get(found["level"], "dim") if found else "dim"
        with _told_or_not():
            self._console.print(Text.assemble((f"  {process:<8} ", colour), (message, style)))


class JsonNarrator:
    """One JSON object a line."""

    def say(self, event: str, text: str, **fields: Any) -> None:
        """Print the event with its fields; the sentence goes along as `text`."""
        self._print({"event": event, **fields, "text": text.strip()})

    def line(self, process: str, line: str) -> None:
        """Print the line as an event."""
        self._print({"event": "line", "process": process, "line": line})

    @staticmethod
    def _print(row: dict[str, Any]) -> None:
        with _told_or_not():
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            sys.stdout.flush()
