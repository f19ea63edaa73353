"""The journal: what a run has done and not undone yet, on disk before it is done.

A run that is killed leaves it behind, and `quorate chaos heal` reads it. Of each fault it holds
what its undo needs, as plain JSON, a line each; a run that ends in good order removes it.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chaos.processes import Identity, identity_of
from cluster.errors import ConfigurationError

STATE_VARIABLE = "QUORATE_CHAOS_STATE"
_SUFFIX = ".journal"

Noted = Mapping[str, Any]


class Journal:
    """One run's. Appending is enough against a killed process; a machine's end heals by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def begin(cls, target: str, *, at_exit: Callable[[Left], object], **about: Any) -> Journal:
        """Write down that this process runs a target, and what tells it from others.

        If the process exits before the journal has ended, *at_exit* heals what it still says.

        Raises:
            ConfigurationError: the state directory cannot be written; says how to name another.
        """
        runner = identity_of(os.getpid())

        def heal_at_exit() -> None:
            left = read(path) if os.getpid() == runner.pid and path.exists() else None
            if left is not None:
                at_exit(left)

        directory = state_directory()
        number = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            while True:
                path = directory / f"{runner.pid}-{runner.started}-{number}{_SUFFIX}"
                try:
                    path.touch(exist_ok=False)
                    break
                except FileExistsError:
                    number += 1
            journal = cls(path)
            journal._append({"target": target, "runner": runner} | about)
        except OSError as error:
            raise ConfigurationError(
                f"{directory} cannot be written ({error.strerror}), and faults are noted there"
                f" before they are done: name another directory in {STATE_VARIABLE}"
            ) from None
        atexit.register(heal_at_exit)
        return journal

    def note(self, fault: str, **undo: Any) -> None:
        """Write down that *fault* is about to be done, and what its undo needs."""
        self._append({"fault": fault} | undo)

    def forget(self, fault: str) -> None:
        """Write down that it is undone."""
        self._append({"undone": fault})

    def end(self) -> None:
        """All is undone. Does nothing when it has ended."""
        self.path.unlink(missing_ok=True)

    def _append(self, line: Noted) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Left(NamedTuple):
    """A journal as it is now: whose it is, and what is not undone."""

    journal: Journal
    about: Noted
    faults: Mapping[str, Noted]

    @property
    def runner(self) -> Identity:
        """Who wrote it."""
        return Identity(*self.about["runner"])


def state_directory() -> Path:
    """Where journals are kept."""
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home, "quorate", "chaos")


def all_journals() -> Iterator[Left]:
    """Every journal that is there, oldest first, those of runs that still go on included."""
    files = state_directory().glob(f"*{_SUFFIX}")
    for path in sorted(files, key=lambda path: path.stat().st_mtime):
        left = read(path)
        if left is not None:
            yield left


def read(path: Path) -> Left | None:
    """What a journal says; None when it says nothing: its run was killed before it did anything."""
    about: Noted | None = None
    faults: dict[str, Noted] = {}
    for line in path.read_text("utf-8").splitlines():
        try:
            noted = json.loads(line)
        except ValueError:
            break  # The last line, torn: what it announces was not done.
        if about is None:
            about = noted
        elif "undone" in noted:
            faults.pop(noted["undone"], None)
        else:
            faults[noted["fault"]] = noted
    return None if about is None else Left(Journal(path), about, faults)
