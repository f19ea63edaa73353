"""A machine copied through its dump, and looked at from all sides."""

from __future__ import annotations

import msgpack

from cluster.core.dumping import dump
from cluster.core.invariants import check
from cluster.core.loading import Loader

NUMBERS = (
    *("now", "lease_ms", "heartbeat_ms"),
    *(
        "grace_until_ms",
        "machine_version",
        "memory_bytes_max",
        "newest_number",
        "newest_place",
        "newest_token",
        "bytes_used",
        "bytes_ended",
    ),
)
TALLY = ("by_status", "completed_ever", "removed_ever", "submitted_ever", "workers_active")


def load(sections):
    loader = Loader()
    for section in sections:
        loader.feed(section)
    return loader.finish()


def msgpacked(sections):
    """The sections with no object of the machine that was dumped."""
    return [msgpack.unpackb(msgpack.packb(section), use_list=False) for section in list(sections)]


def copy_of(machine):
    """The machine after a dump, and a look at what no command would meet at once."""
    sections = list(dump(machine))
    copy = load(sections)
    assert list(dump(copy)) == sections
    assert content_of(copy) == content_of(machine)
    assert check(copy) == []
    assert copy.next_deadline() == machine.next_deadline()
    return copy


def content_of(machine):
    """All that is more than an index over the records, as text: types and orders show."""
    state = machine.state
    lines = [f"{name}: {getattr(state, name)!r}" for name in NUMBERS]
    for name, space in state.spaces.items():
        lines.append(f"namespace {name}: {values_of(space.tally)}")
        lines += [repr(task) for task in space.listing]
        lines += [f"{queue.name}: {queue.is_paused}" for queue in space.queues]
        lines += [f"{key}: {worker!r}" for key, worker in space.workers.items()]
    lines.append(f"suspended: {sorted(machine.worker_nodes.items())}")
    lines += [f"ring: after {state.ring.dropped}", *map(str, state.ring)]
    lines += [repr(record) for record in (*state.operations, *state.keys)]
    return [*lines, f"sessions: {list(state.sessions)}, lost: {list(state.lost)}"]


def values_of(tally):
    return {name: getattr(tally, name) for name in TALLY}
