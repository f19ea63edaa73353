"""A table by id that no single addition makes slow: many small dicts instead of a large one.

A dict that grows is copied whole: 47 ms at 700,000 keys. Which dict a key is in follows from the
key's own last characters, never from `hash()`, which differs between processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")

_ENDING = slice(-2, None)  # Of a UUID, the last of its 128 bits: 256 dicts.


class Table(Generic[V]):
    """Values by id. It has no order: whoever needs one keeps it beside the table."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, V]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def __getitem__(self, key: str) -> V:
        return self._parts[key[_ENDING]][key]

    def __setitem__(self, key: str, value: V) -> None:
        ending = key[_ENDING]
        part = self._parts.get(ending)
        if part is None:
            part = self._parts[ending] = {}
        part[key] = value

    def __delitem__(self, key: str) -> None:
        ending = key[_ENDING]
        part = self._parts[ending]
        del part[key]
        if not part:
            del self._parts[ending]

    def items(self) -> Iterator[tuple[str, V]]:
        """Everything, in an order that differs between two nodes: for checks only."""
        for part in self._parts.values():
            yield from part.items()

    def values(self) -> Iterator[V]:
        """The values, in the order of `items`."""
        for part in self._parts.values():
            yield from part.values()

    def drain(self) -> Iterator[None]:
        """Let everything go, some thousands of values a step."""
        while self._parts:
            self._parts.popitem()
            yield

    def get(self, key: str) -> V | None:
        """The value of *key*, if there is one."""
        part = self._parts.get(key[_ENDING])
        return None if part is None else part.get(key)
