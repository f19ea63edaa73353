"""The machine as a whole: its commands and queries, its clocks, its events and its hash."""

from cluster.core import commands, queries, queue_commands, queue_queries, room
from cluster.core.commands import BeginTerm, Command, Report, Submit
from cluster.core.machine import _COMMANDS, _QUERIES, Machine
from cluster.core.model import NewTask
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


def test_it_knows_how_much_it_holds_and_may_hold(driver):
    before = driver.machine.memory_bytes_max
    driver.do(BeginTerm(memory_bytes_max=10_000_000))
    driver.submit("a")

    assert (before, driver.machine.memory_bytes_max) == (None, 10_000_000)
    assert driver.machine.bytes_used == room.bytes_used(driver.machine.state)


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
