"""The operations: what a frame can call, by name, and how its members become those of a route.

A route says where each member goes over HTTP; here they come in one map, and are parted by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.calls import Handler
from gateway.frames import HEADERS, Called
from gateway.problems import FieldError, Problem, invalid
from gateway.routes import ROUTES
from gateway.routing import Route

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Asked(NamedTuple):
    """A call's members, each where its route has it."""

    path: Mapping[str, str]
    query: Mapping[str, object]  # Every value is a string, as in an address.
    body: Mapping[str, object]
    headers: Mapping[str, str]


class Operation(NamedTuple):
    """A route, as frames call it."""

    handler: Handler
    path_names: tuple[str, ...]
    has_body: bool

    @classmethod
    def of(cls, route: Route) -> Operation:
        """What *route* does, without its address."""
        names = tuple(re.findall(r"{(\w+)}", route.path))
        return cls(route.handler, names, has_body=route.method in _WITH_BODY)

    def asked(self, called: Called) -> Asked:
        """Part the call's members.

        Raises:
            Problem: 422 naming each that cannot stand where it belongs.
        """
        left = called.members
        extras, headers = called.extras, {}
        if extras:
            headers = {
                name: text
                for name, text in extras.items()
                if name in HEADERS and isinstance(text, str)
            }
            extras = {name: item for name, item in extras.items() if name not in HEADERS}
        errors: list[FieldError] = []
        path = _texts({name: left.pop(name, None) for name in self.path_names}, errors)
        query = extras if self.has_body else {**extras, **left}
        texts = _texts({name: item for name, item in query.items() if item is not None}, errors)
        if errors:
            raise invalid(errors)
        return Asked(path, texts, left if self.has_body else {}, headers)


def operation_of(name: str) -> Operation:
    """The operation of that name.

    Raises:
        Problem: 404, there is none.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise Problem("not_found", f"there is no call {name[:64]!r}")
    return operation


def _texts(members: Mapping[str, object], errors: list[FieldError]) -> dict[str, str]:
    """*members* as an address has them."""
    texts: dict[str, str] = {}
    for name, value in members.items():
        if isinstance(value, str):
            texts[name] = value
        elif isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, int):
            texts[name] = str(value)
        elif isinstance(value, float):
            texts[name] = f"{value:.9f}"
        else:
            said = "is required" if value is None else "must be a string or a number"
            errors.append(FieldError(name[:64], said))
    return texts


OPERATIONS: Mapping[str, Operation] = {route.name: Operation.of(route) for route in ROUTES}
