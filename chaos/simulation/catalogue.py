"""All planted bugs, by name, and how to have one for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from chaos.simulation import planted_raft, planted_replica, planted_steering
from chaos.simulation.planted import PLANTED, Planted

SOURCES = (planted_raft, planted_replica, planted_steering)  # They fill it.


def bugs() -> Mapping[str, Planted]:
    """Every planted bug."""
    return PLANTED


@contextmanager
def plant(name: str | None) -> Iterator[None]:
    """Have the bug *name* in the product; None plants nothing."""
    with ExitStack() as stack:
        if name is not None:
            PLANTED[name].patch(stack)
        yield
