"""Entries in order: what is waiting, what is due, what was submitted when.

A list of short sorted lists, so that adding at the end, taking from the front and removing from
the middle all stay cheap at a million entries, without tombstones and without one large resize.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Generic, TypeVar

BLOCK_ENTRIES = 512  # A block is cut in two when it holds twice as many.

E = TypeVar("E", bound=tuple[Any, ...])

_LAST = itemgetter(-1)


class Ordered(Generic[E]):
    """Tuples in ascending order. Their leading integers must tell any two of them apart."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: list[list[E]] = []

    def __len__(self) -> int:
        return sum(len(block) for block in self._blocks)

    def __iter__(self) -> Iterator[E]:
        for block in self._blocks:
            yield from block

    def first(self) -> E | None:
        """The least entry."""
        blocks = self._blocks
        return blocks[0][0] if blocks else None

    def before(self, bound: tuple[int, ...]) -> Iterator[E]:
        """The entries less than *bound*, the greatest first. Nothing may change meanwhile."""
        blocks = self._blocks
        for at in range(min(self._block_of(bound), len(blocks) - 1), -1, -1):
            block = blocks[at]
            for place in range(bisect_left(block, bound) - 1, -1, -1):
                yield block[place]

    def add(self, entry: E) -> None:
        """Put *entry* where it belongs."""
        blocks = self._blocks
        if not blocks:
            blocks.append([entry])
            return
        last = blocks[-1]
        if last[-1] < entry:
            if len(last) < BLOCK_ENTRIES:
                last.append(entry)
            else:
                blocks.append([entry])
            return

        at = self._block_of(entry)
        block = blocks[at]
        insort(block, entry)
        if len(block) >= 2 * BLOCK_ENTRIES:
            blocks.insert(at + 1, block[BLOCK_ENTRIES:])
            del block[BLOCK_ENTRIES:]

    def remove(self, entry: E) -> None:
        """Take out *entry*, which must be there."""
        blocks = self._blocks
        at = self._block_of(entry)
        block = blocks[at]
        place = bisect_left(block, entry)
        assert block[place] == entry, f"{entry} is not there"
        del block[place]
        if not block:
            del blocks[at]

    def _block_of(self, bound: tuple[Any, ...]) -> int:
        """The first block that ends at or after *bound*."""
        if len(self._blocks) == 1:
            return 0
        return bisect_left(self._blocks, bound, key=_LAST)
