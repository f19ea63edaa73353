"""Which requests may be sent a second time, when nobody knows whether the first one arrived.

Reads, what HTTP calls idempotent and is so here, what names its outcome by a lease token, and what
brings an id or an idempotency key for each thing that it makes. Anything else might happen twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from multidict import CIMultiDictProxy

from gateway.bulk import decode_bulk
from gateway.encoding import Format, Undecodable, decode

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, §9.2.2.
# It removes what waits by then, and a second one what came after the first.
_PURGE = re.compile(r"/queues/.+/tasks", re.DOTALL)
_ALWAYS = re.compile(
    r"/tasks/[^/]+/(complete|fail|progress|release)"
    r"|/workers/[^/]+/(lease|heartbeat|drain)"
    r"|/queues/[^/]+/(pause|resume)"
)
_IF_NAMED = frozenset({"/tasks", "/workers"})
_BATCH = "/tasks/batch"


def is_repeatable(method: str, path: str, headers: CIMultiDictProxy[str], content: bytes) -> bool:
    """Whether a second copy changes nothing that the first one did not."""
    if method in _IDEMPOTENT:
        return method != "DELETE" or _PURGE.fullmatch(path) is None
    if method != "POST":
        return False
    if _ALWAYS.fullmatch(path) or (path == "/tasks" and "Idempotency-Key" in headers):
        return True
    media = headers.get("Content-Type", Format.JSON).partition(";")[0].strip().lower()
    try:
        if path == _BATCH:
            return _are_all_named(decode_bulk(content, media, "tasks"))
        return path in _IF_NAMED and _is_named(decode(content, Format(media)))
    except (Undecodable, ValueError):
        return False  # A node will say what is wrong with it.


def _are_all_named(body: object) -> bool:
    tasks = body.get("tasks") if isinstance(body, Mapping) else None
    return isinstance(tasks, list) and all(map(_is_named, tasks))


def _is_named(body: object) -> bool:
    return isinstance(body, Mapping) and bool(body.get("id") or body.get("idempotency_key"))
