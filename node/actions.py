"""What a worker's session wants done, as data: calls to make, runs to start and to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Object = Mapping[str, Any]

NOW = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """How a worker describes itself to the cluster."""

    name: str
    slots: int
    queues: tuple[str, ...]
    types: tuple[str, ...]
    tags: tuple[str, ...] = ()


class Ask(NamedTuple):
    """A call to make over the connection that there is; its answer goes to `session.answered`."""

    name: str
    body: Object
    after_seconds: float = NOW
    token: int | None = None  # The lease that it is about.
    connection: int = 0  # Counts connections: an answer of an earlier one is no news.


class Start(NamedTuple):
    """Run this leased task."""

    lease: Object


class Stop(NamedTuple):
    """Stop the run of this lease; how it ends is still told to `Session.finished`."""

    token: int


class Joined(NamedTuple):
    """The cluster knows us: send heartbeats for this worker."""

    worker_id: str
    heartbeat_seconds: float


class MoveOn(NamedTuple):
    """Connect to another node: this one cannot serve us."""

    why: str


Action = Ask | Start | Stop | Joined | MoveOn
