"""A generated log applied to a machine, and what came of it, to the byte.

As a program it prints that, so that processes with other hash seeds can be compared:
`python -m tests.cluster.core.replaying`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from cluster import codec
from cluster.core.machine import Applied, Deadline, Machine
from tests.cluster.core.workload import entries

SEED = 7
ENTRIES = 500
DUMPED_EVERY = 25


def step(machine: Machine, raw: bytes, index: int) -> Applied:
    """Apply an entry as a replica does."""
    entry = codec.unpack_entry(raw)
    applied = machine.apply_entry(
        [command for group in entry.groups for command in group.commands],
        index=index,
        term=1,
        cluster_time_ms=entry.cluster_time_ms,
        wall_time_ms=entry.wall_time_ms,
    )
    machine.seal(raw, codec.pack_outcome(applied.replies, applied.events))
    return applied


def outcome(machine: Machine, raw: bytes, index: int) -> tuple[bytes, bytes, Deadline]:
    """What an entry did, to the byte, and when there is more to do."""
    applied = step(machine, raw, index)
    packed = codec.pack_outcome(applied.replies, applied.events)
    return packed, machine.state_hash, machine.next_deadline()


def replay(log: Iterable[bytes]) -> dict[str, Any]:
    """What a whole log comes to: the running hash, the dumps on the way, and what was met."""
    machine = Machine()
    dumps = blake2b()
    ops: dict[str, int] = {}
    kinds: dict[str, int] = {}
    evicted = 0
    for index, raw in enumerate(log, start=1):
        for group in codec.unpack_entry(raw).groups:
            for command in group.commands:
                ops[command.op] = ops.get(command.op, 0) + 1
        for event in step(machine, raw, index).events:
            kinds[str(event.kind)] = kinds.get(str(event.kind), 0) + 1
            evicted += event.error == "evicted"
        if index % DUMPED_EVERY == 0:
            for section in codec.dump_machine(machine):
                dumps.update(section)
    return {
        "state_hash": machine.state_hash.hex(),
        "dumps": dumps.hexdigest(),
        "ops": ops,
        "kinds": kinds,
        "evicted": evicted,
    }


if __name__ == "__main__":
    print(json.dumps(replay(entries(random.Random(SEED), ENTRIES))))  # noqa: T201 - to its parent.
