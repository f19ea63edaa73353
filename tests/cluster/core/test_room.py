"""Room: what is refused when tasks take too much, what goes first, and what is always taken."""

from __future__ import annotations

import pytest

from cluster.core import sizes
from cluster.core.commands import BeginTerm, Cancel, Complete, Fail, Refusal, Report, Submit, Tick
from cluster.core.model import ERROR_TOLD_MAX, PAYLOAD_BYTES_MAX, Idempotency, NewTask, Policy

MEMORY_BYTES_MAX = 80_000  # An eighth are 10,000.
TASK = b"x" * 3_000


@pytest.fixture
def full(driver):
    """A cluster whose tasks may take little."""
    driver.do(BeginTerm("n1", memory_bytes_max=MEMORY_BYTES_MAX))
    return driver


def fill(driver):
    """Submit until the cluster is full; returns the ids that were taken in."""
    taken = []
    for number in range(100):
        if refused(driver.submit(f"full{number}", payload=TASK)):
            return taken
        taken.append(f"full{number}")
    raise AssertionError("it takes in ever more")


def evict_one(driver):
    """Let tasks take a little less than they do."""
    seven_eighths = driver.machine.state.bytes_used - 1_000
    driver.do(BeginTerm("n1", memory_bytes_max=seven_eighths * 8 // 7))


def refused(reply):
    """Which rule said no, if one did."""
    return getattr(reply, "refusal", None)


def test_what_has_no_room_is_refused_and_says_why(full):
    fill(full)

    reply = full.submit("one", "more", payload=TASK)

    assert reply.refusal is Refusal.CLUSTER_FULL
    assert "need 6,754 bytes" in reply.detail
    assert "of the 80,000 that all tasks may take (memory_bytes_max)" in reply.detail
    assert full.find("one") is None
    assert full.kinds() == []


def test_what_has_not_ended_takes_six_eighths_at_most(full):
    taken = fill(full)

    unended = full.machine.state.bytes_used
    assert 60_000 - len(TASK) - 400 < unended <= 60_000
    assert len(taken) > 10


def test_a_repeat_of_what_is_known_needs_no_room(full):
    taken = fill(full)

    reply = full.submit(*taken, payload=TASK)

    assert [task.is_duplicate for task in reply.tasks] == [True] * len(taken)


def test_a_repeat_under_a_known_key_needs_no_room(full):
    keyed = NewTask.of("a", "t", b"", "json")._replace(idempotency=Idempotency("k", b"body"))
    full.do(Submit((keyed,)))
    fill(full)

    reply = full.do(Submit((keyed._replace(id="b", payload=TASK),)))

    assert reply.tasks[0].is_duplicate


def test_a_task_twice_in_one_command_needs_its_room_once(full):
    twice = NewTask.of("a", "t", b"x" * 40_000, "json")

    reply = full.do(Submit((twice, twice)))

    assert [task.is_duplicate for task in reply.tasks] == [False, True]


@pytest.mark.parametrize("limit", ["delay_ms", "run_at_ms", "ttl_ms"])
def test_the_room_asked_for_is_the_room_taken(driver, limit):
    driver.submit("first", type="t")
    policy = Policy(ttl_ms=5) if limit == "ttl_ms" else Policy()
    times = {} if limit == "ttl_ms" else {limit: 5}
    meta, trace = (("name", "välue"),), "00-1"
    new = NewTask.of("a", "t", b"x", "json", policy=policy, meta=meta, traceparent=trace, **times)
    driver.submit("same kind", policy=policy, content_type="json")
    before = driver.machine.state.bytes_used

    driver.do(Submit((new,)))

    grown = driver.machine.state.bytes_used - before
    assert grown == sizes.new_task_bytes(new) + sizes.MOMENT_BYTES


def test_what_ended_first_is_evicted_first_and_says_so(full):
    full.worker(slots=1)
    removed = []
    for number in range(30):
        full.submit(f"t{number}", payload=TASK)
        removed += [event for event in full.events if event.kind == "removed"]
        full.complete(f"t{number}")
        removed += [event for event in full.events if event.kind == "removed"]

    gone = [(event.task_id, event.error) for event in removed]
    assert gone == [(f"t{number}", "evicted") for number in range(len(gone))]
    assert 0 < len(gone) < 29
    assert full.machine.state.bytes_used <= 70_000


def test_it_is_the_end_that_counts_and_not_the_submission(full):
    full.worker(slots=2)
    full.submit("old", payload=TASK)
    full.submit("new", payload=TASK)
    full.complete("new")
    full.complete("old")

    there = []
    for number in range(30):
        full.submit(f"t{number}", payload=TASK)
        full.complete(f"t{number}")
        there.append((full.find("new") is not None, full.find("old") is not None))

    assert (False, True) in there
    assert (True, False) not in there


def test_dead_letters_go_last(full):
    full.worker(slots=1)
    full.submit("dead", payload=TASK, max_attempts=1)
    full.fail("dead")
    full.submit("done", payload=TASK)
    full.complete("done")
    fill(full)

    evict_one(full)
    assert full.find("done") is None
    assert full.status("dead") == "failed"
    evict_one(full)
    assert full.find("dead") is None


def test_a_result_may_be_as_large_as_it_likes_and_room_is_made_for_it(full):
    full.worker(slots=1)
    fill(full)

    reply = full.complete("full0", result=b"x" * 100_000)

    assert reply.status == "completed"
    assert full.find("full0") is None
    assert full.machine.state.bytes_used <= 70_000


def test_all_that_ends_work_is_taken_in_a_full_cluster(full):
    full.worker(slots=3)
    fill(full)
    full.do(BeginTerm("n1", memory_bytes_max=50_000))

    assert full.fail("full0").status == "retrying"
    assert full.do(Cancel("full1")).status == "processing"
    assert full.do(Cancel("full9")).status == "cancelled"
    assert full.heartbeat("w", full.token("full1")).cancel == ("full1",)
    assert refused(full.register("another")) is None


def test_progress_that_has_no_room_is_refused(full):
    full.worker(slots=1)
    fill(full)
    token = full.token("full0")

    assert refused(full.do(Report("full0", token, b"x" * 30_000))) is Refusal.CLUSTER_FULL
    assert full.task("full0").progress is None
    assert refused(full.do(Report("full0", token, b"x" * 10_000))) is None
    full.do(BeginTerm("n1", memory_bytes_max=50_000))
    assert refused(full.do(Report("full0", token, b"less"))) is None


def test_of_an_error_that_has_no_room_the_beginning_is_kept(full):
    full.worker(slots=1)
    fill(full)

    full.do(Fail("full0", full.token("full0"), "x" * 30_000))

    assert full.task("full0").error == "x" * ERROR_TOLD_MAX


def test_a_cluster_goes_on_taking_tasks_as_others_end(full):
    full.worker(slots=1)
    taken = fill(full)

    for task_id in taken:
        full.complete(task_id)
        assert refused(full.submit(f"after {task_id}", payload=TASK)) is None


def test_evicting_is_bounded_and_goes_on_with_the_next_entry(driver, monkeypatch):
    monkeypatch.setattr("cluster.core.sweeping.UNITS_MAX", 2)
    driver.worker(slots=1)
    for number in range(6):
        driver.submit(f"t{number}")
        driver.complete(f"t{number}")

    driver.do(BeginTerm("n1", memory_bytes_max=100))
    assert driver.kinds() == ["leader_changed", "removed", "removed"]
    assert driver.machine.next_deadline().cluster_ms == driver.cluster_ms
    driver.do(Tick())
    driver.do(Tick())
    assert driver.find("t5") is None
    assert driver.machine.next_deadline().cluster_ms > driver.cluster_ms


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("result", lambda token, size: Complete("a", token, b"x" * size)),
        ("error", lambda token, size: Fail("a", token, "x" * size)),
        ("progress", lambda token, size: Report("a", token, b"x" * size)),
    ],
)
def test_what_a_run_leaves_is_bounded(driver, what, command):
    driver.worker()
    driver.submit("a")
    token = driver.token("a")

    reply = driver.do(command(token, PAYLOAD_BYTES_MAX + 1))

    assert reply.refusal is Refusal.TOO_LARGE
    assert f"the {what} of task a has 1,048,577 bytes, the limit is 1,048,576" in reply.detail
    assert refused(driver.do(command(token, PAYLOAD_BYTES_MAX))) is None


def test_a_string_beyond_ascii_counts_for_what_it_may_take():
    assert sizes.text_bytes("ä" * 10) == sizes.TEXT_BYTES + 80
    assert sizes.text_bytes("a" * 10) == sizes.TEXT_BYTES + 10


def test_all_that_was_counted_in_is_counted_out(driver):
    before = driver.machine.state.bytes_used
    driver.worker()
    driver.submit("a", "b", meta=(("k", "v"),), ttl_ms=10, retention_ms=100)
    driver.do(Report("a", driver.token("a"), b"half"))
    driver.fail("a")
    driver.after(3_600_000)
    driver.after(3_600_000)
    driver.after(3_600_000)

    assert driver.find("a") is None
    assert driver.find("b") is None
    assert driver.session() is None
    assert driver.machine.state.bytes_used == before
