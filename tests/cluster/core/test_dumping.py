"""What is loaded is what was dumped; what was never dumped is refused. `test_replay.py` goes on."""

from dataclasses import fields

import pytest

from cluster.core import ring, sweeping
from cluster.core.accounting import Tally
from cluster.core.commands import Cancel, Leave, Tick
from cluster.core.crews import Crew, Crews, Node
from cluster.core.dead_letters import DeadLetters
from cluster.core.dumping import BYTES_MAX, RECORDS_MAX, dump
from cluster.core.idempotency import Keys
from cluster.core.loading import UnknownVersion
from cluster.core.machine import Machine
from cluster.core.model import (
    Backoff,
    Extras,
    Idempotency,
    Kind,
    Moment,
    Policy,
    Run,
    Task,
    TaskStatus,
    Worker,
    WorkerStatus,
    due_key,
)
from cluster.core.operations import Operations
from cluster.core.queue_commands import PauseQueue, PurgeQueue, RetryDead
from cluster.core.queues import Queue, Queues
from cluster.core.ready import Lane, Market, Ready
from cluster.core.ring import Ring
from cluster.core.state import Space, State
from tests.cluster.core.copying import NUMBERS, TALLY, copy_of, load, msgpacked
from tests.cluster.core.forms import sources_only

KIND = Kind("t", "json", "q", 9, Policy(1, Backoff(2, 3, 4, 5), 6, 7, 4), ("gpu",), "s")


@sources_only
def test_every_part_of_the_state_is_dumped_or_follows_from_what_is():
    """A new part belongs into the dump, unless the loader builds it again; then into this list."""
    assert set(State.__slots__) == {
        *NUMBERS,
        *("spaces", "sessions", "lost", "ready", "crews", "timeouts", "timers", "ring"),
        *("operations", "keys", "kinds"),
        *("events", "units_left"),  # Of the entry that is being applied.
    }
    assert set(Ring.__slots__) == {"dropped", "_events", "bytes_used"}
    assert set(Space.__slots__) == {
        *("listing", "roster", "tally", "tasks", "workers", "queues", "dead", "rested")
    }
    assert set(Tally.__slots__) == set(TALLY)
    assert set(Crews.__slots__) == {"fresh", "by_profile", "by_queue", "nodes", "of_worker"}
    assert set(Node.__slots__) == {"crews", "id", "is_suspended"}
    assert set(Crew.__slots__) == {
        *("available", "markets", "members", "node", "profile", "tags", "types"),
    }
    assert set(Ready.__slots__) == {"markets", "by_queue"}
    assert set(Market.__slots__) == {"crews", "heads", "is_paused", "key", "lanes"}
    assert set(Lane.__slots__) == {"market", "tasks", "turn", "type"}
    assert set(Queues.__slots__) == {"_listing", "by_name", "paused"}
    assert set(Queue.__slots__) == {"by_status", "is_paused", "name", "pending", "size"}
    assert set(DeadLetters.__slots__) == {"_counts", "_tasks"}
    assert set(Operations.__slots__) == {"finished", "open"}
    assert set(Keys.__slots__) == {"_by_slot", "_in_order"}


@sources_only
def test_every_field_of_a_task_is_kept():
    run = Run(**{field.name: field.name for field in fields(Run)})
    run.finished_at_ms = 8
    run.timeout = None  # It no longer runs.
    run.timeline = (9, 1, 1, 0, "leased", "worker_id", 7, 1, "error")
    task = Task(**{field.name: field.name for field in fields(Task)})
    task.status = TaskStatus.COMPLETED
    task.extras = Extras((("k", "v"),), "00-1", "me")
    task.created = Moment(1, 2, 3, 4, tasks=1)
    task.number = 5
    task.run = run
    task.timer = due_key(8 + 4, 5)
    machine = Machine()
    task.kind = machine.state.open_kind(KIND)
    space = task.kind.space
    space.tasks[task.id] = task
    space.listing.extend([task])
    space.tally.submitted_ever = 1

    (loaded,) = load(msgpacked(dump(machine))).state.spaces["s"].listing

    assert repr(loaded) == repr(task)


@sources_only
def test_every_field_of_a_worker_is_kept():
    worker = Worker(**{field.name: field.name for field in fields(Worker)})
    worker.leases = {}
    worker.status = WorkerStatus.LOST
    worker.seat = None
    machine = Machine()
    space = machine.state.spaces["s"] = Space()
    space.workers[worker.id] = worker
    space.roster.add(worker)
    machine.state.lost[worker.number] = worker

    (loaded,) = load(msgpacked(dump(machine))).state.spaces["s"].workers.values()

    assert repr(loaded) == repr(worker)


def test_namespaces_stay_apart_and_in_order(driver):
    for namespace in ("b", "default", "a"):
        driver.submit("t", namespace=namespace)
        driver.register("w", namespace=namespace)

    machine = copy_of(driver.machine)

    assert list(machine.state.spaces) == ["b", "default", "a"]
    assert all(
        [task.id for task in space.listing] == ["t"] for space in machine.state.spaces.values()
    )


def test_sessions_keep_their_order(driver):
    for worker_id in "abc":
        driver.register(worker_id)
    driver.heartbeat("a")

    machine = copy_of(driver.machine)

    assert [worker.id for worker in machine.state.sessions.values()] == ["b", "c", "a"]


def test_a_lost_worker_stays_lost(driver):
    driver.register("w")
    driver.after(15_000)

    machine = copy_of(driver.machine)

    assert [worker.id for worker in machine.state.lost.values()] == ["w"]


def test_a_paused_queue_stays_paused(driver):
    driver.do(PauseQueue("empty"))
    driver.do(PauseQueue("default"))
    driver.submit("a")

    driver.machine = copy_of(driver.machine)
    driver.worker()

    queues = driver.machine.state.spaces["default"].queues
    assert [(queue.name, queue.is_paused) for queue in queues] == [
        ("default", True),
        ("empty", True),
    ]
    assert driver.status("a") == "pending"


def test_an_operation_goes_on_where_it_was(driver, monkeypatch):
    monkeypatch.setattr(sweeping, "UNITS_MAX", 2)
    driver.submit(*"abcde")
    driver.entry(PurgeQueue("first", "default"), RetryDead("second", "default", "t"))

    driver.machine = copy_of(driver.machine)
    for _ in range(3):
        driver.do(Tick())

    operations = [(each.id, each.kind, each.done) for each in driver.machine.state.operations]
    assert operations == [("first", "purge", 5), ("second", "retry_dead", 0)]


def test_a_key_still_stands_for_its_task(driver):
    driver.submit("a", idempotency=Idempotency("key", b"body"))

    driver.machine = copy_of(driver.machine)
    reply = driver.submit("b", idempotency=Idempotency("key", b"body"))

    assert [task.task_id for task in reply.tasks] == ["a"]


def fresh_of(machine):
    """What the next match begins with; None for what is gone."""
    crews, ready = machine.state.crews, machine.state.ready
    lanes = [lane for market in ready.markets.values() for lane in market.lanes.values()]
    there = [*crews.by_profile.values(), *lanes]
    return [
        type(source) if any(source is each for each in there) else None for source in crews.fresh
    ]


def test_what_a_match_left_undone_is_still_to_do(driver, monkeypatch):
    monkeypatch.setattr(sweeping, "UNITS_MAX", 0)  # No match is ever over.
    driver.worker("w", 1)
    driver.submit("a", "b")

    assert fresh_of(copy_of(driver.machine)) == [Crew, Lane]


def test_what_is_gone_still_keeps_a_match_from_being_over(driver, monkeypatch):
    monkeypatch.setattr(sweeping, "UNITS_MAX", 0)
    driver.worker("w", 1)
    driver.submit("a")
    driver.do(Leave("w"))
    driver.do(Cancel("a"))

    machine = copy_of(driver.machine)

    assert fresh_of(machine) == [None, None]
    assert machine.next_deadline().cluster_ms == machine.cluster_time_ms


def test_what_is_gone_is_done_with_after_the_next_match(driver, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "UNITS_MAX", 0)
        driver.worker("w", 1)
        driver.do(Leave("w"))
    machine = copy_of(driver.machine)

    machine.apply_entry([Tick()], index=9, term=1, cluster_time_ms=0, wall_time_ms=0)

    assert fresh_of(machine) == []


def kinds_of(machine):
    return [kind for _, kind, *_ in dump(machine)]


def test_a_section_holds_256_records_at_most(driver):
    driver.submit(*(f"t{n}" for n in range(RECORDS_MAX + 1)))

    assert kinds_of(driver.machine) == [
        *("header", "space", "tasks", "tasks", "ring", "events", "events", "end")
    ]
    assert len(copy_of(driver.machine).state.spaces["default"].tasks) == RECORDS_MAX + 1


THIRD = BYTES_MAX // 3 + 1
LARGE = {
    "payload": lambda task: setattr(task, "payload", bytes(THIRD)),
    "result": lambda task: setattr(task.run, "result", bytes(THIRD)),
    "progress": lambda task: setattr(task.run, "progress", bytes(THIRD)),
    "error": lambda task: setattr(task.run, "error", "x" * THIRD),
    "meta": lambda task: setattr(task, "extras", Extras(meta=(("key", "x" * THIRD),))),
}


@pytest.mark.parametrize("field", LARGE)
def test_a_section_is_cut_where_its_tasks_would_be_too_large(driver, field):
    driver.submit(*"abcde")
    for task in driver.machine.state.spaces["default"].listing:
        task.run = Run()
        LARGE[field](task)

    assert kinds_of(driver.machine).count("tasks") == 3  # Of 2, 2 and 1.


def test_a_section_is_cut_where_its_workers_would_be_too_large(driver):
    for n in range(5):
        driver.register(f"w{n}")
    for worker in driver.machine.state.spaces["default"].workers.values():
        worker.leases = dict.fromkeys(range(THIRD // 50 + 1), "a")

    assert kinds_of(driver.machine).count("workers") == 3


def test_a_record_that_is_too_large_has_a_section_of_its_own(driver):
    driver.submit("a", payload=bytes(BYTES_MAX + 1))
    driver.submit("b")
    driver.submit("c")

    assert kinds_of(driver.machine).count("tasks") == 2
    assert copy_of(driver.machine).state.task("default", "a").payload == bytes(BYTES_MAX + 1)


def test_what_many_share_is_one_in_memory(driver):
    driver.worker("worker", 2)
    for n in range(RECORDS_MAX + 1):  # More than one section has.
        fields = {"type": "resize", "queue": "images", "requires": ("gpu",), "max_attempts": 7}
        driver.submit(f"task{n}", submitted_by="somebody", **fields)

    tasks = load(msgpacked(dump(driver.machine))).state.spaces["default"].tasks

    first, last = tasks["task0"], tasks[f"task{RECORDS_MAX}"]
    assert first.kind is last.kind


def test_tasks_of_one_entry_share_its_moment(driver):
    driver.submit(*(f"t{n}" for n in range(RECORDS_MAX + 1)))  # More than one section has.
    driver.submit("later")

    tasks = load(msgpacked(dump(driver.machine))).state.spaces["default"].tasks

    assert tasks["t0"].created is tasks[f"t{RECORDS_MAX}"].created
    assert tasks["t0"].created != tasks["later"].created


def test_a_worker_and_its_tasks_share_their_ids(driver):
    driver.worker("worker", 1)
    driver.submit("task")

    space = load(msgpacked(dump(driver.machine))).state.spaces["default"]

    (task,) = space.tasks.values()
    (worker,) = space.workers.values()
    assert task.run.worker_id is worker.id
    assert worker.leases[1] is task.id


def test_fields_that_an_older_program_did_not_dump_have_their_defaults(driver):
    driver.submit("a", ttl_ms=5)
    sections = list(dump(driver.machine))
    assert sections[2][1] == "tasks"
    number, kind, columns, *runs = sections[2]
    sections[2] = (number, kind, columns[:-1], *runs)

    assert load(sections).state.task("default", "a").expires_at_ms is None


def test_a_machine_becomes_another_for_all_who_hold_it(driver):
    driver.submit("a")
    driver.machine.seal(b"raw", b"outcome")
    held = Machine()

    held.become(load(dump(driver.machine)))

    assert list(dump(held)) == list(dump(driver.machine))
    assert (held.applied_index, held.state_hash) == (1, driver.machine.state_hash)


@pytest.fixture
def sections(driver):
    """A dump with every kind of section."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "UNITS_MAX", 2)
        driver.register("lost")
        driver.after(15_000)
        patch.setattr(sweeping, "UNITS_MAX", 0)
        driver.worker("w", 1)
        driver.submit("a", "b")
        driver.submit("c", idempotency=Idempotency("key", b"body"))
        driver.entry(PauseQueue("images"), PurgeQueue("operation", "images"))
    sections = list(dump(driver.machine))
    assert [kind for _, kind, *_ in sections] == [
        *("header", "space", "paused", "tasks", "workers", "ring", "events"),
        *("sessions", "lost", "operations", "keys", "fresh", "end"),
    ]
    return sections


def test_a_dump_that_breaks_off_is_refused(sections):
    for length in range(len(sections)):
        with pytest.raises(ValueError, match=f"breaks off after {length} sections"):
            load(sections[:length])


def test_a_dump_without_one_of_its_sections_is_refused(sections):
    for left_out in range(len(sections)):
        with pytest.raises(ValueError, match=r"does not come next|breaks off"):
            load(sections[:left_out] + sections[left_out + 1 :])


def test_a_dump_out_of_order_is_refused(sections):
    for place in range(len(sections) - 1):
        swapped = list(sections)
        swapped[place : place + 2] = reversed(swapped[place : place + 2])
        with pytest.raises(ValueError, match="does not come next"):
            load(swapped)


def test_nothing_comes_twice(sections):
    for section in sections:
        again = (len(sections), *section[1:])
        with pytest.raises(ValueError, match="does not come next"):
            load([*sections, again])


def renumbered(contents):
    return [(number, *content) for number, content in enumerate(contents)]


def test_tasks_that_were_never_dumped_are_missed(driver):
    driver.submit("a", "b")
    contents = [content for _, *content in dump(driver.machine) if content[0] != "tasks"]

    with pytest.raises(ValueError, match="2 tasks were in namespace default, 0 came"):
        load(renumbered(contents))


def test_sessions_that_were_never_dumped_are_missed(driver):
    driver.register("w")
    contents = [content for _, *content in dump(driver.machine) if content[0] != "sessions"]

    with pytest.raises(ValueError, match="1 workers came without their sessions"):
        load(renumbered(contents))


def test_events_that_were_never_dumped_are_missed(driver):
    driver.submit("a", "b")
    contents = [content for _, *content in dump(driver.machine) if content[0] != "events"]

    with pytest.raises(ValueError, match="2 events were kept, 0 came"):
        load(renumbered(contents))


def test_events_are_kept_with_what_was_dropped_before_them(driver, monkeypatch):
    monkeypatch.setattr(ring, "EVENTS_MAX", 3)
    driver.worker()
    driver.submit("a", "b", max_attempts=1)
    driver.fail("a", error="x" * 400)

    copy = copy_of(driver.machine).state.ring

    kept = driver.machine.state.ring
    assert (list(copy), copy.dropped, copy.bytes_used) == (
        list(kept),
        kept.dropped,
        kept.bytes_used,
    )


def test_records_of_no_namespace_are_refused(driver):
    driver.submit("a")
    contents = [content for _, *content in dump(driver.machine) if content[0] != "space"]

    with pytest.raises(ValueError, match="section 1 of the dump is damaged"):
        load(renumbered(contents))


def test_columns_of_unequal_length_are_refused(driver):
    for task_id in "abc":
        driver.submit(task_id, payload=task_id.encode())
    sections = list(dump(driver.machine))
    number, kind, columns, *runs = sections[2]
    place = columns.index((b"a", b"b", b"c"))
    cut = (*columns[:place], (b"a", b"b"), *columns[place + 1 :])
    sections[2] = (number, kind, cut, *runs)

    with pytest.raises(ValueError, match="section 2 of the dump is damaged"):
        load(sections)


@pytest.mark.parametrize(
    "section",
    [
        None,
        (),
        (0,),
        (0, "header"),
        (0, "header", "1", b""),
        (0, "header", 1, b"", 5),
        (1, "sessions"),
        (0, "end"),
    ],
)
def test_what_does_not_begin_as_a_dump_is_refused(section):
    with pytest.raises(ValueError, match="section 0 of the dump is damaged"):
        load([section])


@pytest.mark.parametrize(
    "content",
    [
        ("unheard of",),
        ("header", 1, b"", *range(10)),
        ("space", "n"),
        ("tasks",),
        ("tasks", (5,), b"", ()),
        ("tasks", (("a", "b"), 5), b"", ()),
        ("tasks", (("a", "b"), (("x",), b"\0\1")), b"", ()),
        ("tasks", (("a",), *[("x",)] * 50), b"", ()),
        ("tasks", (("a",),), b"", ()),
        ("workers", ("w",)),
        ("ring", 1),
        ("events", (1,)),
        ("events", 5),
        ("paused", 5),
        ("operations", 5),
        ("operations", ("o", "n", "unheard of", None, None, 0, 0, 0)),
        ("keys", 5),
        ("keys", ("slot", b"body")),
        ("sessions", 7),
        ("fresh", 5),
        ("fresh", ("unknown",)),
        ("fresh", (("default", "q", ()), "t")),
    ],
)
def test_what_was_never_dumped_is_refused(sections, content):
    last = len(sections) - 1
    with pytest.raises(ValueError, match=f"section {last} of the dump is damaged"):
        load([*sections[:-1], (last, *content)])


def test_a_dump_of_a_newer_program_is_not_guessed_at():
    with pytest.raises(UnknownVersion, match="version 9; this program knows up to 1"):
        load([(0, "header", 9, "something", "else")])
