"""Who the members of a simulated cluster are, told from what was committed anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from chaos.simulation.history import Outcome
from chaos.simulation.operating import Order
from cluster.raft.membership import Configuration, Stage


class Members:
    """Every configuration that was committed, by its index in the log."""

    def __init__(self) -> None:
        self._known: dict[int, Configuration] = {}
        self.names: frozenset[str] | None = None  # None until a cluster is formed.

    def agree(self, index: int, configuration: Configuration) -> bool:
        """Note what was applied at *index*; whether it is what others have applied there."""
        known = self._known.setdefault(index, configuration)
        is_newest = known is configuration and index == max(self._known)
        if is_newest and configuration.stage is Stage.FORMED:
            self.names = names_in(configuration)
        return known == configuration

    def include(self, name: str) -> bool:
        """Whether *name* counts, as far as anybody knows."""
        return self.names is None or name in self.names

    def changes(self) -> Counter[tuple[str, str]]:
        """How often each name was added and removed."""
        found: Counter[tuple[str, str]] = Counter()
        formed = [
            names_in(configuration)
            for _, configuration in sorted(self._known.items())
            if configuration.stage is Stage.FORMED
        ]
        for before, after in pairwise(formed):
            found.update(("add", name) for name in sorted(after - before))
            found.update(("remove", name) for name in sorted(before - after))
        return found


def names_in(configuration: Configuration) -> frozenset[str]:
    """The ids of its members."""
    return frozenset(member.id for member in configuration.members)


def judge_orders(
    changes: Counter[tuple[str, str]], orders: Iterable[Order]
) -> Iterator[tuple[str, str]]:
    """Confirmed: it happened. Refused: it did not. Unknown: it may have, once for each request."""
    confirmed: Counter[tuple[str, str]] = Counter()
    possible: Counter[tuple[str, str]] = Counter()
    for order in orders:
        if order.what == "lead":
            continue
        change = order.what, order.name
        confirmed[change] += order.outcome is Outcome.OK
        possible[change] += order.outcome is not Outcome.FAIL
    for change in sorted({*possible, *changes}):
        if not confirmed[change] <= changes[change] <= possible[change]:
            unknown = possible[change] - confirmed[change]
            told = f"confirmed {confirmed[change]} and left unknown {unknown} times"
            what = f"{' '.join(change)} happened {changes[change]} times, was {told}"
            yield "members change as the operator was told", what
