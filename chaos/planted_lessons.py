"""Planted bugs of the exercises: each removes one rule whose worth an experiment shows.

Beside the simulation's own, and planted like them; the simulation does not look for these: what
they cost is waiting or order, or shows only where a process's memory and its disk part.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from chaos.simulation.planted import Patch, Planted, replace, replace_command
from cluster.core import commands, lifecycle
from cluster.core.machine import Machine
from cluster.raft import storage

HELD_BYTES = 64 * 1024  # As much as a buffered file of many languages keeps to itself.
APPLY_SECONDS = 0.02


def _priorities_ignored(stack: ExitStack) -> None:
    replace(stack, lifecycle, "turn_of", lambda _original: lambda place, _priority: place)


def _flush_forgotten(stack: ExitStack) -> None:
    """The log is written through a buffer, and answered from it."""

    def make(original: Any) -> Any:
        def append(self: Any, content: bytes) -> None:
            self.held = getattr(self, "held", b"") + content
            if len(self.held) >= HELD_BYTES:
                held, self.held = self.held, b""
                original(self, held)

        return append

    replace(stack, storage._File, "append", make)


def _apply_holds_the_loop(stack: ExitStack) -> None:
    """Something in the way of every submission blocks: a look-up, say, of what is far away."""

    def make(original: Any) -> Any:
        def submit(state: Any, command: commands.Submit) -> Any:
            time.sleep(APPLY_SECONDS)
            return original(state, command)

        return submit

    replace_command(stack, commands.Submit, make)


def _clock_of_its_own(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def apply_entry(self: Machine, entry: Any, **named: Any) -> Any:
            named["cluster_time_ms"] = time.monotonic_ns() // 1_000_000
            return original(self, entry, **named)

        return apply_entry

    replace(stack, Machine, "apply_entry", make)


def _lessons(*lessons: tuple[str, str, Patch]) -> Mapping[str, Planted]:
    return {name: Planted(name, removes, patch, None) for name, removes, patch in lessons}


LESSONS = _lessons(
    ("priorities-ignored", "a task of a higher priority goes first", _priorities_ignored),
    ("flush-forgotten", "what is acknowledged has left the process's memory", _flush_forgotten),
    ("clock-of-its-own", "what is applied follows from the log alone", _clock_of_its_own),
    ("apply-holds-the-loop", "nothing that is applied waits for anything", _apply_holds_the_loop),
)
