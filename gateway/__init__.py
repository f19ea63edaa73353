"""The edge: HTTP in, commands out, answers back; and the client that calls it.

What is offered here is loaded when it is first asked for, so that a node loads no client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.errors import NoQuorum, NotCommitted, OutcomeUnknown, Overloaded, QuorateError
    from gateway.blocking import BlockingClient, BlockingHandle
    from gateway.client import Client
    from gateway.client_errors import (
        ClusterFull,
        EventsGone,
        InvalidRequest,
        NoResult,
        RequestRefused,
        TaskCancelled,
        TaskExpired,
        TaskFailed,
        TaskUnknown,
    )
    from gateway.handles import Handle
    from gateway.submissions import Submission

__all__ = [
    "BlockingClient",
    "BlockingHandle",
    "Client",
    "ClusterFull",
    "EventsGone",
    "Handle",
    "InvalidRequest",
    "NoQuorum",
    "NoResult",
    "NotCommitted",
    "OutcomeUnknown",
    "Overloaded",
    "QuorateError",
    "RequestRefused",
    "Submission",
    "TaskCancelled",
    "TaskExpired",
    "TaskFailed",
    "TaskUnknown",
]

_HOMES = {
    "BlockingClient": "gateway.blocking",
    "BlockingHandle": "gateway.blocking",
    "Client": "gateway.client",
    "Handle": "gateway.handles",
    "Submission": "gateway.submissions",
    **dict.fromkeys(
        ("NoQuorum", "NotCommitted", "OutcomeUnknown", "Overloaded", "QuorateError"),
        "cluster.errors",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "gateway.client_errors")), name)
