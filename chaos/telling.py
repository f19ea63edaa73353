"""What has changed between two looks at the nodes, in words: who leads, who hears whom. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from chaos.checkers.evidence import Sight
from chaos.history import Row, Type

Views = Mapping[str, Sight | None]  # What each node said last; None of one that is silent.


def changes(before: Views, after: Views) -> Iterator[str]:
    """One sentence for each thing that a person would want to know."""
    for name, now in after.items():
        was = before.get(name)
        if now is None:
            if was is not None:
                yield f"{name} is silent"
            continue
        if was is None:
            yield f"{name} answers: {now.role} of term {now.term}"
        elif now.role != was.role or (now.role == "leader" and now.term != was.term):
            yield _moved(was, now)
        elif now.term != was.term:
            yield f"{name} goes along with term {now.term}"
        if was is not None:
            yield from _hearing(was, now)


def _moved(was: Sight, now: Sight) -> str:
    if now.role == "leader":
        return f"{now.node} leads term {now.term}"
    if was.role == "leader":
        return f"{now.node} no longer leads: {now.role} of term {now.term}"
    return f"{now.node} is {now.role} of term {now.term}"


def _hearing(was: Sight, now: Sight) -> Iterator[str]:
    missed = [name for name in was.hears if name not in now.hears]
    found = [name for name in now.hears if name not in was.hears]
    if missed and not now.hears:
        yield f"{now.node} hears nobody"
    elif missed:
        yield f"{now.node} no longer hears {_named(missed)}"
    if found:
        yield f"{now.node} hears {_named(found)}"


def _named(names: Sequence[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def told(row: Row) -> str:
    """What somebody was answered who asked for a task."""
    if row.type is not Type.OK:
        return f"{row.type}, {row.value}"
    is_known = ", known already" if row.value.get("duplicate") else ""
    return f"{row.type}, {row.value.get('status')}{is_known}"
