"""Every kind that a task has, kept once: equal kinds are one record, however many tasks have it."""

from __future__ import annotations

from cluster.core.model import Kind, SharedKind


class Kinds:
    """The kinds of all tasks that are kept, and no others."""

    __slots__ = ("_newest", "shared")

    def __init__(self) -> None:
        self.shared: dict[Kind, SharedKind] = {}
        self._newest: SharedKind | None = None  # What was asked for last is mostly asked for again.

    def find(self, kind: Kind) -> SharedKind | None:
        """The one record of all that equal *kind*, if a task has it."""
        newest = self._newest
        if newest is not None and newest.plain is kind:
            return newest
        self._newest = shared = self.shared.get(kind)
        return shared

    def add(self, shared: SharedKind) -> None:
        """Take in one that no task had."""
        self.shared[shared.plain] = self._newest = shared

    def remove(self, shared: SharedKind) -> None:
        """Forget one that no task has any more."""
        del self.shared[shared.plain]
        self._newest = None
