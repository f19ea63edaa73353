"""Crash points in a simulated world: which process dies where, and how often each was passed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cluster
from chaos.simulation.world import Died, World
from cluster import crashpoints

CRASH = "crash at "  # Begins the name under which a point's crashes are counted.

_CALL = re.compile(r'\breach\("([^"]+)"\)')


@cache
def points() -> tuple[str, ...]:
    """Every crash point of the product, sorted: each is spelt at its call."""
    sources = Path(cluster.__file__).parent.rglob("*.py")
    return tuple(sorted({name for each in sources for name in _CALL.findall(each.read_text())}))


class Armed(NamedTuple):
    """One machine's next crash."""

    point: str
    passes_left: int
    die: Callable[[str], None]  # Ends the process at once; called with the point's name.


class Crashes:
    """What `crashpoints.reach` calls while a world runs."""

    def __init__(self, world: World) -> None:
        self.passed: Counter[str] = Counter()  # By point, in all processes.
        self._world = world
        self._armed: dict[str, Armed] = {}  # By machine; it outlives the machine's processes.

    def arm(self, host: str, point: str, *, count: int, die: Callable[[str], None]) -> None:
        """Have *die* called when a process of *host* gets to *point* for the *count*-th time."""
        self._armed[host] = Armed(point, count, die)

    def disarm(self) -> None:
        """Let nobody die any more."""
        self._armed.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear of every point passed, for as long as this lasts: one world at a time can."""
        crashpoints.arm(self._pass)
        try:
            yield
        finally:
            crashpoints.arm(None)

    def _pass(self, point: str) -> None:
        self.passed[point] += 1
        process = self._world.acting
        armed = None if process is None else self._armed.get(process.host)
        if process is None or armed is None or armed.point != point:
            return
        if armed.passes_left > 1:
            self._armed[process.host] = armed._replace(passes_left=armed.passes_left - 1)
            return
        del self._armed[process.host]
        armed.die(point)
        raise Died
