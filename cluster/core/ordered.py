"""Records in order: what is waiting, what is due, what was submitted when.

A list of short sorted lists, so that adding at the end, taking from the front and removing from
the middle all stay cheap at a million records, without tombstones and without one large resize.
A record costs the eight bytes of its reference: what orders it is read from the record itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

BLOCK_RECORDS = 512  # A block is cut in two when it holds twice as many.

R = TypeVar("R")


class Ordered(Generic[R]):
    """Records by ascending key. No two have the same; none changes its key while it is in here."""

    __slots__ = ("_blocks", "_floors", "_key", "first")

    def __init__(self, key: Callable[[R], Any]) -> None:
        self.first: R | None = None  # The record with the least key: what is asked for most.
        self._key = key
        self._blocks: list[list[R]] = []
        self._floors: list[Any] = []  # Of each block: no key in it is less, but in the first.

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    def __iter__(self) -> Iterator[R]:
        for block in self._blocks:
            yield from block

    def before(self, bound: Any) -> Iterator[R]:
        """The records with keys less than *bound*, the greatest first.

        Nothing may change meanwhile.
        """
        blocks = self._blocks
        for at in range(min(self._block_of(bound), len(blocks) - 1), -1, -1):
            block = blocks[at]
            for place in range(bisect_left(block, bound, key=self._key) - 1, -1, -1):
                yield block[place]

    def after(self, bound: Any) -> Iterator[R]:
        """The records with keys greater than *bound*, the least first.

        Nothing may change meanwhile.
        """
        blocks = self._blocks
        for at in range(self._block_of(bound), len(blocks)):
            block = blocks[at]
            for place in range(bisect_right(block, bound, key=self._key), len(block)):
                yield block[place]

    def add(self, record: R) -> None:
        """Put *record* where it belongs."""
        blocks = self._blocks
        key = self._key(record)
        if not blocks:
            blocks.append([record])
            self._floors.append(key)
            self.first = record
            return
        last = blocks[-1]
        if self._key(last[-1]) < key:
            if len(last) < BLOCK_RECORDS:
                last.append(record)
            else:
                blocks.append([record])
                self._floors.append(key)
            return

        at = self._block_of(key)
        block = blocks[at]
        insort(block, record, key=self._key)
        self.first = blocks[0][0]
        if len(block) >= 2 * BLOCK_RECORDS:
            blocks.insert(at + 1, block[BLOCK_RECORDS:])
            self._floors.insert(at + 1, self._key(block[BLOCK_RECORDS]))
            del block[BLOCK_RECORDS:]

    def extend(self, records: list[R]) -> None:
        """Put in *records*, which are in order, and most often behind all that are here."""
        blocks = self._blocks
        last = blocks[-1] if blocks else None
        if last is None or len(last) + len(records) > BLOCK_RECORDS:
            for record in records:
                self.add(record)
        elif self._key(last[-1]) < self._key(records[0]):
            last += records
        else:
            for record in records:
                self.add(record)

    def remove(self, record: R) -> None:
        """Take out *record*, which must be there."""
        blocks = self._blocks
        at = place = 0
        block = blocks[0]
        if block[0] is not record:
            key = self._key(record)
            at = self._block_of(key)
            block = blocks[at]
            place = bisect_left(block, key, key=self._key)
            assert block[place] == record, f"{record} is not there"
        del block[place]
        if not block:
            del blocks[at]
            del self._floors[at]
        if record is self.first:
            self.first = blocks[0][0] if blocks else None

    def drain(self) -> Iterator[None]:
        """Let everything go, some hundreds of records a step."""
        self.first = None
        self._floors.clear()
        while self._blocks:
            self._blocks.pop()
            yield

    def _block_of(self, key: Any) -> int:
        """The block that *key* belongs into."""
        return max(bisect_right(self._floors, key) - 1, 0)
