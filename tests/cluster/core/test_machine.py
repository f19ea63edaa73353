"""The machine as a whole: its clocks, its events, and the same state from the same log."""

import os
import subprocess
import sys
from pathlib import Path

from cluster.core import commands, queries, queue_commands, queue_queries
from cluster.core.commands import Command, Report, Submit
from cluster.core.machine import _COMMANDS, _QUERIES, Machine
from cluster.core.model import EVENT_KINDS, NewTask
from cluster.core.queries import GetTask, Query

TASK = NewTask.of("a", "t", b"", "json")


def apply(machine, *entry, **clocks):
    times = {"index": 1, "term": 1, "cluster_time_ms": 0, "wall_time_ms": 0} | clocks
    return machine.apply_entry(entry, **times)


def types_of(base, *modules):
    members = [member for module in modules for member in vars(module).values()]
    return {each for each in members if isinstance(each, type) and issubclass(each, base)} - {base}


def test_every_command_has_its_line():
    assert set(_COMMANDS) == types_of(Command, commands, queue_commands)


def test_every_query_has_its_line():
    assert set(_QUERIES) == types_of(Query, queries, queue_queries)


def test_it_knows_the_newest_entry():
    machine = Machine()
    apply(machine, index=7, term=3, cluster_time_ms=40, wall_time_ms=50)

    assert (machine.applied_index, machine.applied_term) == (7, 3)
    assert (machine.cluster_time_ms, machine.wall_time_ms) == (40, 50)


def test_clocks_never_go_backward():
    machine = Machine()
    apply(machine, cluster_time_ms=40, wall_time_ms=50)
    apply(machine, Submit((TASK,)), index=2, cluster_time_ms=30, wall_time_ms=20)

    assert (machine.cluster_time_ms, machine.wall_time_ms) == (40, 50)
    assert machine.answer(GetTask("a")).created_at_ms == 50


def test_each_command_of_an_entry_has_its_reply():
    machine = Machine()

    applied = apply(machine, Submit((TASK,)), Submit((TASK,)))

    assert [reply.tasks[0].is_duplicate for reply in applied.replies] == [False, True]


def test_events_have_a_place_in_the_log(driver):
    driver.worker()
    driver.submit("a")

    assert [(event.index, event.offset, event.term) for event in driver.events] == [
        (3, 0, 1),
        (3, 1, 1),
    ]


def test_a_tasks_events_tell_its_story(driver):
    story = []
    driver.worker()
    driver.submit("a", max_attempts=2)
    story += driver.events
    driver.do(Report("a", 1, b"half"))
    story += driver.events
    driver.fail("a")
    story += driver.events
    driver.after(10_000)
    story += driver.events
    driver.fail("a")
    story += driver.events

    assert [(event.kind, event.status, event.attempt, event.lease_token) for event in story] == [
        ("submitted", "pending", None, None),
        ("leased", "processing", 1, 1),
        ("progress", "processing", 1, 1),
        ("retrying", "retrying", 1, 1),
        ("ready", "pending", None, None),
        ("leased", "processing", 2, 2),
        ("failed", "failed", 2, 2),
    ]


def test_a_workers_events_tell_where_it_is_connected(driver):
    driver.register()

    (event,) = driver.events
    assert (event.kind, event.worker_id, event.node) == ("worker_joined", "w", "n1")


def test_the_hash_begins_with_zeros():
    assert Machine().state_hash == bytes(16)


def test_the_hash_tells_entries_apart():
    one, two = Machine(), Machine()
    one.seal(b"ab", b"c")
    two.seal(b"a", b"bc")

    assert one.state_hash != two.state_hash


def test_the_hash_is_a_chain():
    one, two = Machine(), Machine()
    one.seal(b"a", b"")
    one.seal(b"b", b"")
    two.seal(b"b", b"")
    two.seal(b"a", b"")

    assert one.state_hash != two.state_hash


REPLAY = """
import random, sys
sys.path[:0] = sys.argv[1:3]
from workload import entries
from cluster import codec
from cluster.core.machine import Machine

machine = Machine()
kinds = {}
for index, raw in enumerate(entries(random.Random(7), 400), start=1):
    entry = codec.unpack_entry(raw)
    commands = [command for group in entry.groups for command in group.commands]
    applied = machine.apply_entry(commands, index=index, term=1,
        cluster_time_ms=entry.cluster_time_ms, wall_time_ms=entry.wall_time_ms)
    machine.seal(raw, codec.pack_outcome(applied.replies, applied.events))
    for event in applied.events:
        kinds[event.kind] = kinds.get(event.kind, 0) + 1
print(machine.state_hash.hex(), *sorted(kinds))
"""


def replay(seed):
    here = Path(__file__).parent
    root = here.parents[2]
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(here), str(root)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    state_hash, *kinds = done.stdout.split()
    return state_hash, kinds


def test_the_same_log_gives_the_same_hash_whatever_the_hash_seed():
    first, kinds = replay("1")

    assert [replay(seed)[0] for seed in ("1", "2", "3")] == [first] * 3
    assert kinds == sorted(EVENT_KINDS), "the workload no longer reaches every kind of event"
