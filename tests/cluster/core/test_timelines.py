"""What befell a task."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import codec
from cluster.core import ring, timelines
from cluster.core.commands import Cancel, Release, Report, Retry
from cluster.core.machine import Machine
from cluster.core.model import EVENT_KINDS, TaskStatus
from cluster.core.queries import Timeline
from cluster.core.timelines import EMPTY, ENTRIES_MAX
from tests.cluster.core.workload import entries


def told(driver, task_id="a"):
    """Each entry in a word or two."""
    timeline = driver.machine.answer(Timeline(task_id))
    return [
        " ".join(str(part) for part in (entry.kind, *entry[5:]) if part is not None)
        for entry in timeline.entries
    ]


def packed(entries):
    timeline = EMPTY
    for entry in entries:
        timeline = timelines.extended(timeline, entry)
    return timeline


def released(n, error=None):
    return (n, 1, n, "released", f"w{n}", n, None, error)


def test_a_task_that_is_not_there_has_none(driver):
    assert driver.machine.answer(Timeline("a")) is None


def test_a_waiting_task_was_submitted_and_pays_nothing_for_it(driver):
    driver.cluster_ms = 7
    driver.submit("a")
    driver.submit("b", delay_ms=5)
    driver.after(1)

    now, later = (driver.machine.answer(Timeline(task_id)).entries for task_id in "ab")

    assert now == ((1, 1, 7, "submitted", TaskStatus.PENDING, None, None, None, None),)
    assert later == ((2, 1, 7, "submitted", TaskStatus.SCHEDULED, None, None, None, None),)
    assert driver.machine.state.task("default", "a").run is None


def test_every_transition_has_its_entry(driver):
    driver.submit("a", delay_ms=5, max_attempts=2)
    driver.after(5)
    driver.worker()
    driver.do(Report("a", 1, b"half"))
    driver.do(Release("a", 1))
    driver.fail("a")
    driver.after(10_000)
    driver.do(Cancel("a"))
    driver.fail("a")
    driver.do(Retry("a"))
    driver.complete("a")

    assert told(driver) == [
        "submitted",
        "ready",
        "leased w 1 1",
        "released w 1",
        "leased w 2 1",
        "retrying w 2 1 broken",
        "ready",
        "leased w 3 2",
        "cancel_requested w 3",
        "cancelled w 3 broken",
        "ready",
        "leased w 4 1",
        "completed w 4 1",
    ]


def test_entries_say_what_the_events_said(driver):
    events = []
    driver.worker()
    driver.submit("a", max_attempts=2, ttl_ms=60_000)
    events += driver.events
    driver.fail("a")
    events += driver.events
    driver.after(60_000)
    events += driver.events

    entries = driver.machine.answer(Timeline("a")).entries

    assert [entry.kind for entry in entries] == ["submitted", "leased", "retrying", "expired"]
    assert [tuple(entry) for entry in entries[1:]] == [
        (event.index, event.term, event.time_ms, event.kind, *event[7:12])
        for event in events[1:]
        if event.task_id == "a"
    ]


@pytest.mark.parametrize("seed", range(3))
def test_timelines_and_events_are_one_story(seed, monkeypatch):
    monkeypatch.setattr(ring, "EVENTS_MAX", 200)
    machine = Machine()
    told = {}
    places = {}
    for index, raw in enumerate(entries(random.Random(seed), 300), start=1):
        entry = codec.unpack_entry(raw)
        applied = machine.apply_entry(
            [command for group in entry.groups for command in group.commands],
            index=index,
            term=1,
            cluster_time_ms=entry.cluster_time_ms,
            wall_time_ms=entry.wall_time_ms,
        )
        for event in applied.events:
            if event.kind == "submitted":
                told[event.task_id] = []
                places[event.task_id] = []
            if event.task_id is not None and event.kind not in timelines.LEAVE_NO_ENTRY:
                said = (event.index, event.term, event.time_ms, event.kind, *event[7:12])
                told[event.task_id].append(said)
                places[event.task_id].append(event.position)

    told_places = set()
    kept = {task.id for task in machine.state.spaces["default"].listing}
    assert len(kept) > 10
    oldest = machine.state.ring.dropped
    for task_id in kept:
        timeline = machine.answer(Timeline(task_id))
        assert timeline.dropped == max(0, len(told[task_id]) - ENTRIES_MAX)
        newest = told[task_id][1:][-(ENTRIES_MAX - 1) :]
        assert list(map(tuple, timeline.entries)) == [told[task_id][0], *newest]
        at = [places[task_id][0], *places[task_id][1:][-(ENTRIES_MAX - 1) :]]
        assert timeline.positions == tuple(place if place > oldest else None for place in at)
        told_places.update(timeline.positions)
    assert None in told_places
    assert len(told_places) > 10


def test_the_first_and_the_newest_are_kept_and_the_others_counted(driver):
    driver.submit("a")
    driver.worker()
    for token in range(1, 101):
        driver.do(Release("a", token))

    timeline = driver.machine.answer(Timeline("a"))

    assert len(timeline.entries) == ENTRIES_MAX
    assert timeline.entries[0].kind == "submitted"
    assert timeline.entries[-1].lease_token == 101
    assert timeline.dropped == 201 - (ENTRIES_MAX - 1)


def test_a_full_timeline_ends_with_the_newest():
    timeline = packed(map(released, range(1, 101)))

    assert [entry.index for entry in timelines.entries(timeline)] == list(range(38, 101))
    assert timelines.dropped(timeline) == 37


@given(st.integers(0, 200))
def test_a_timeline_that_was_dumped_shares_its_words(count):
    timeline = packed(map(released, range(1, count + 1)))
    words = {}

    again = timelines.loaded(timeline, lambda word: words.setdefault(word, word))

    assert again == timeline
    kept = list(timelines.entries(timeline))
    assert set(words) == {entry.worker_id for entry in kept} | {entry.kind for entry in kept}


@pytest.mark.parametrize("timeline", [(), (0,) * 2, (1,) * 8, (0,) * 16])
def test_what_is_no_timeline_is_not_loaded(timeline):
    with pytest.raises(ValueError, match=f"{len(timeline)} values"):
        timelines.loaded(timeline, str)


def test_a_timeline_tells_its_entries_errors():
    timeline = packed([released(1, "xxx"), released(2), released(3, "yy")])

    assert EMPTY[timelines.ERRORS] == ()
    assert timeline[timelines.ERRORS] == ("xxx", None, "yy")


def test_every_kind_of_event_about_a_task_is_told_or_left_out():
    others = ("queue_", "worker_", "leader_", "node_")
    about_tasks = {kind for kind in EVENT_KINDS if not kind.startswith(others)}
    told = {
        kind
        for kind in about_tasks - {"submitted", *timelines.LEAVE_NO_ENTRY}
        for entry in timelines.entries((0, 1, 1, 1, kind, None, None, None, None))
        if entry.kind == kind
    }

    assert told | {"submitted", *timelines.LEAVE_NO_ENTRY} == about_tasks
