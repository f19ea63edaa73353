"""The sections of a snapshot: the form of what `dumping.py` writes and `loading.py` reads.

A section is a numbered tuple of what msgpack can carry, with so few records that neither side ever
holds a second copy or takes long over one. Records go column by column, a column a field, in the
order of their type's fields: new fields are appended with a default. What follows from the records
(lanes, crews, timers, the listing, the counts by status) is built again by the code that keeps it
up while the machine runs; the orders of tables and sessions are kept. A market without tasks is
not: whether it stands shows in nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from cluster.core.model import Run, Task, Worker
from cluster.core.operations import Operation

SNAPSHOT_VERSION = 1  # Raised with every field that is added.

Section = tuple[Any, ...]  # Its number, its kind, and what that kind holds.

# What the header holds of the state, after the version and the hash. Append only.
HEADER = (
    *("now.index", "now.term", "now.cluster_ms", "now.wall_ms"),
    *("lease_ms", "heartbeat_ms", "grace_until_ms"),
    *("newest_number", "newest_place", "newest_token"),
    *("memory_bytes_max", "bytes_used", "bytes_ended", "machine_version"),
)
# What comes by itself or follows from the rest: the last fields of their records.
_FOLLOWS = ("run", "timer", "timeout", "seat")
FIELDS: Mapping[type, tuple[str, ...]] = MappingProxyType(
    {
        record: tuple(field.name for field in fields(record) if field.name not in _FOLLOWS)
        for record in (Task, Run, Worker)
    }
)
OPERATION = tuple(field.name for field in fields(Operation))
# Fields of few values: a section holds each value once, and memory does as well.
SHARED = (
    *("kind", "extras", "created", "status", "worker_id", "node"),
    *("progress_content_type", "result_content_type"),
    *("namespace", "queues", "types", "tags"),
)
