"""What a route is: a method on a path, who answers it, and what is told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from aiohttp import web

from gateway import checks, queries, shapes
from gateway.answers import Answer
from gateway.calls import Handler
from gateway.checks import Check
from gateway.fields import Shape
from gateway.service import Service

Streamer = Callable[[web.Request, Service], Awaitable[web.StreamResponse]]

_PATH = {"id": checks.uuid, "name": shapes.check_name}


class Told(NamedTuple):
    """What `/openapi.json` tells of a route beside its address."""

    says: str
    answer: Answer
    status: int = 200
    query: Shape = queries.NOTHING
    body: Shape | None = None
    problems: tuple[str, ...] = ()  # Codes of its own; those of all its kind are added.
    path: Mapping[str, Check[str]] = _PATH
    also: tuple[int, ...] = ()  # Other statuses of the same answer.
    takes_lines: bool = False


class Route(NamedTuple):
    """A method on a path, and who answers it. HEAD goes with every GET.

    Its name is what a frame on `/connect` calls it by: the body's, the path's and the query's
    members are one map there.
    """

    name: str
    method: str
    path: str
    handler: Handler
    told: Told


class Stream(NamedTuple):
    """A path that is read with GET and answered in a form of its own: over HTTP alone."""

    path: str
    handler: Streamer
    says: str
    media: str
    query: Shape = queries.NOTHING
    problems: tuple[str, ...] = ()
