"""How much room a node's part of the cluster takes, in memory and on its disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

from cluster.core.machine import Machine
from cluster.raft import segments, snapshots
from cluster.raft.log import Log
from cluster.raft.storage import Storage


class Usage(NamedTuple):
    """What is there now, in bytes, and which entries the log still has."""

    state_bytes: int
    state_bytes_max: int | None  # None while no leader has said.
    log_first: int
    log_last: int
    log_bytes: int
    snapshot_bytes: int


def usage(machine: Machine, log: Log, storage: Storage) -> Usage:
    """Look at the state, the log and the files."""
    return Usage(
        state_bytes=machine.bytes_used,
        state_bytes_max=machine.memory_bytes_max,
        log_first=log.first_index if len(log) else 0,
        log_last=log.last_index,
        log_bytes=_size(storage, segments.names(storage)),
        snapshot_bytes=_size(storage, snapshots.names(storage)),
    )


def _size(storage: Storage, names: Iterable[str]) -> int:
    total = 0
    for name in names:
        with contextlib.suppress(OSError):  # It was dropped since it was listed.
            total += storage.size(name)
    return total
