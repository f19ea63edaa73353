"""Bugs planted on purpose: each removes one rule from the product, and the judge must see it.

There are no switches in the product for this: a bug replaces one method from outside, for as long
as its context lasts. A method that is not there any more fails loudly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

from cluster import core
from cluster.compiled import INTERPRETED, is_compiled
from cluster.core import machine

Patch = Callable[[ExitStack], None]


class Planted(NamedTuple):
    """One bug."""

    name: str
    removes: str  # The rule that is gone, in a sentence; D numbers are those of docs/raft.md.
    patch: Patch
    theme: str | None  # Of the seeds under which it is looked for; None takes them as they come.


PLANTED: dict[str, Planted] = {}


def planted(name: str, removes: str, *, theme: str | None = None) -> Callable[[Patch], Patch]:
    """Enter a patch into the catalogue."""

    def enter(patch: Patch) -> Patch:
        PLANTED[name] = Planted(name, removes, patch, theme)
        return patch

    return enter


def replace(stack: ExitStack, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of an attribute, wherever *owner* has it from."""
    if is_compiled(core):
        raise RuntimeError(f"bugs are planted in sources: set {INTERPRETED}=1")
    homes = [home for home in getattr(owner, "__mro__", (owner,)) if name in vars(home)]
    assert homes, f"{owner} has no {name} any more: the bug that replaced it must follow it"
    home = homes[0]
    original = vars(home)[name]
    stack.callback(setattr, home, name, original)
    setattr(home, name, make(original))


def replace_entry(
    stack: ExitStack, table: dict[Any, Any], key: Any, make: Callable[[Any], Any]
) -> None:
    """Put `make(original)` in the place of what *table* has for *key*."""
    original = table[key]
    stack.callback(table.__setitem__, key, original)
    table[key] = make(original)


def replace_command(stack: ExitStack, kind: type[Any], make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of what the machine does for commands of *kind*."""
    table = dict(machine._COMMANDS)
    table[kind] = make(table[kind])
    replace(stack, machine, "_COMMANDS", lambda _original: table)


def constant(value: Any) -> Callable[[Any], Any]:
    """A method that does nothing and returns *value*."""
    return lambda _original: lambda *_args, **_named: value
