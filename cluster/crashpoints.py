"""Named points at which a process may be made to die: how a crash in the worst moment is tried.

`reach` does nothing until a test arms it. The simulator arms it with a function; a real process is
armed by `QUORATE_CRASH_AT=name` or `name:count`, and then dies of SIGKILL the count-th time it gets
there. The names are found by reading the sources: every call site spells its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

_armed: Callable[[str], None] | None = None


def reach(name: str) -> None:
    """Pass the point *name*, unless it is armed."""
    if _armed is not None:
        _armed(name)


def arm(hook: Callable[[str], None] | None) -> None:
    """Have *hook* called with the name of every point passed; None disarms."""
    global _armed
    _armed = hook


def arm_from_environment(environment: Mapping[str, str]) -> None:
    """Arm the point that `QUORATE_CRASH_AT` names, if it names one."""
    wanted, _, count = environment.get("QUORATE_CRASH_AT", "").partition(":")
    if not wanted:
        return
    remaining = int(count or 1)
    node = os.getpid()

    def die(name: str) -> None:
        nonlocal remaining
        if name == wanted:
            remaining -= 1
            if remaining == 0:
                os.kill(node, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)  # A snapshot's child got here.

    arm(die)
