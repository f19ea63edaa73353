"""Every kind that a task has, kept once: equal kinds are one record, however many tasks have it."""

from __future__ import annotations

from cluster.core.model import Kind


class Shared:
    """A kind and how many tasks have it."""

    __slots__ = ("kind", "tasks")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.tasks = 0


class Kinds:
    """The kinds of all tasks that are kept, and no others."""

    __slots__ = ("_newest", "shared")

    def __init__(self) -> None:
        self.shared: dict[Kind, Shared] = {}
        self._newest: Shared | None = None  # What was held last is mostly held again.

    def hold(self, kind: Kind) -> Shared:
        """The one record of all that equal *kind*, with one more task counted."""
        shared = self._newest
        if shared is None or shared.kind is not kind:
            shared = self.shared.get(kind)
            if shared is None:
                shared = self.shared[kind] = Shared(kind)
            self._newest = shared
        shared.tasks += 1
        return shared

    def let_go(self, kind: Kind) -> bool:
        """Count one task of this kind less; whether it was the last, and the kind is gone."""
        shared = self.shared[kind]
        shared.tasks -= 1
        if shared.tasks:
            return False
        del self.shared[kind]
        self._newest = None
        return True
