"""Idempotency keys: what was submitted under each, remembered longer than its task.

A key stands for one body for a day. A repeat of both is the same task, though it be gone by then;
the key with another body is a conflict. A key is never forgotten early: when there is no room for
one more, the submission is refused (`submitting.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

from cluster.core.table import Table

REMEMBERED_MS = 86_400_000  # Wall time, from the submission.
KEYS_MAX = 1_000_000  # Of all namespaces.
_SLOT_BYTES = 16  # So many that no two keys ever share a slot.


class Remembered(NamedTuple):
    """What was submitted under a key."""

    slot: str  # Namespace and key, hashed: of one length, and evenly spread over the table.
    body: bytes  # The digest of the submission, as the edge made it.
    task_id: str
    until_ms: int  # Wall time at which it is forgotten.


class Keys:
    """All keys that are remembered, the oldest first: wall time only grows."""

    __slots__ = ("_by_slot", "_in_order")

    def __init__(self) -> None:
        self._by_slot: Table[Remembered] = Table()
        self._in_order: deque[Remembered] = deque()

    def __len__(self) -> int:
        return len(self._in_order)

    def __iter__(self) -> Iterator[Remembered]:
        return iter(self._in_order)

    def find(self, slot: str) -> Remembered | None:
        """What was submitted, if it is remembered."""
        return self._by_slot.get(slot)

    def add(self, remembered: Remembered) -> None:
        """Take in one that is no older than those that are here."""
        self._by_slot[remembered.slot] = remembered
        self._in_order.append(remembered)

    def next_ms(self) -> int | None:
        """The wall time at which the oldest is forgotten."""
        return self._in_order[0].until_ms if self._in_order else None

    def forget_due(self, now_ms: int) -> Remembered | None:
        """Forget the oldest and return it, if it was remembered for long enough."""
        if not self._in_order or self._in_order[0].until_ms > now_ms:
            return None
        forgotten = self._in_order.popleft()
        del self._by_slot[forgotten.slot]
        return forgotten


def slot_of(namespace: str, key: str) -> str:
    """Where a key is remembered."""
    names = f"{len(namespace)}:{namespace}{key}".encode()
    return blake2b(names, digest_size=_SLOT_BYTES).hexdigest()
