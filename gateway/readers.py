"""Who reads this node's events now: counted, and ended when the node stops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cluster.watching import Watch


class Readers:
    """The readers of one node."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._watches)

    @contextlib.contextmanager
    def reading(self, watch: Watch) -> Iterator[Watch]:
        """Count *watch* in until the context is left, which closes it."""
        self._watches.add(watch)
        if self.is_closed:
            watch.close()
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            watch.close()

    def close(self) -> None:
        """End every reader: the node is stopping. Each goes on elsewhere and misses nothing."""
        self.is_closed = True
        for watch in list(self._watches):
            watch.close()
