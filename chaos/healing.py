"""Healing for sure: a run that is asked to end undoes first what it did; one that was killed is
healed from its journal.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from chaos.journal import Left
from chaos.targets import leftovers, local

T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # The last: the terminal was closed.


def run_to_the_end(main: Coroutine[Any, Any, T]) -> T:
    """Run *main*, and let each of `SIGNALS` end it as if it were cancelled: its `finally`
    undo what it did. A second one is not waited for, and what is left then goes at the exit.

    Raises:
        KeyboardInterrupt: it was asked to end.
    """
    was_asked = False

    async def ended_by_signals() -> T:
        nonlocal was_asked
        loop = asyncio.get_running_loop()
        running = asyncio.ensure_future(main)

        def ask() -> None:
            nonlocal was_asked
            if was_asked:
                raise KeyboardInterrupt
            was_asked = True
            running.cancel()

        for number in SIGNALS:
            loop.add_signal_handler(number, ask)
        try:
            return await running
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    try:
        return asyncio.run(ended_by_signals())
    except asyncio.CancelledError:
        if was_asked:
            raise KeyboardInterrupt from None
        raise


def heal(left: Left, *, is_going: bool) -> list[str]:
    """Undo what a killed run has left, and say what was found; the cluster goes as well if it
    *is_going*, or cannot live without its runner.

    Raises:
        Unsupported: what the target stands on is not there; the journal stays.
    """
    return _HEALERS[left.about["target"]](left, is_going=is_going)


def _heal_local(left: Left, *, is_going: bool) -> list[str]:
    del is_going  # Without its runner its nodes have no way to each other.
    return local.heal(left)


_HEALERS: dict[str, Callable[..., list[str]]] = {"local": _heal_local, "docker": leftovers.heal}
