"""Errors travel: from a process of a pool to its parent, say, with all that they tell."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import gateway
import node
from cluster import errors
from gateway import client_errors
from gateway.client_errors import NoResult, RequestRefused

PROBLEM = {
    "code": "any",
    "detail": "no",
    "errors": [{"field": "a", "message": "b"}],
    "first": 7,
    "oldest": "1-5b2e9c-1f4-3",
}
TASK = {"id": "t", "type": "resize", "status": "failed", "error": "no room"}


def raised() -> list[Exception]:
    """One of each class that our modules of errors define, and of those that are offered."""
    offered = [*vars(errors).values(), *vars(client_errors).values()]
    for package in (gateway, node):
        offered += [getattr(package, name) for name in package.__all__]
    kinds = (one for one in offered if isinstance(one, type) and issubclass(one, Exception))
    return [made(kind) for kind in dict.fromkeys(kinds)]


def made(kind: type[Any]) -> Exception:
    error: Exception
    if issubclass(kind, RequestRefused):
        error = kind(422, PROBLEM)
    elif issubclass(kind, NoResult):
        error = kind(TASK)
    elif kind.__init__ is Exception.__init__:
        error = kind("why")
    else:
        error = kind("why", 3)
    error.add_note("seen on the way")
    return error


@pytest.mark.parametrize("error", raised(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "carried",
    [copy.copy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301 - Our own bytes.
    ids=["copy", "pickle"],
)
def test_an_error_arrives_whole(
    carried: Callable[[Exception], Exception], error: Exception
) -> None:
    arrived = carried(error)

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
