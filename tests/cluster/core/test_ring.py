"""The newest events, for readers that were away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core import ring
from cluster.core.model import ERROR_TOLD_MAX, Event, Position
from cluster.core.queries import Events, EventsAfter, EventsGone, EventSpan, Span
from cluster.core.ring import START, Ring


@pytest.fixture
def room_for_four(monkeypatch):
    monkeypatch.setattr(ring, "EVENTS_MAX", 4)


def entry(index, count=1, error=None):
    return [Event(index, offset, 1, 0, "failed", error=error) for offset in range(count)]


def places(events):
    return [tuple(event.position) for event in events]


def test_before_the_first_event_all_that_comes_is_after_the_start():
    assert (Ring().dropped, Ring().newest, Ring().after(START, 9)) == (START, START, ())


def test_events_are_read_from_any_position_on(driver):
    driver.submit("a", "b")
    driver.submit("c")

    def after(index, offset, limit=9):
        answer = driver.machine.answer(EventsAfter(Position(index, offset), limit))
        return [event.task_id for event in answer.events]

    assert after(0, 0) == ["a", "b", "c"]
    assert after(1, 0) == ["b", "c"]
    assert after(1, 1) == ["c"]
    assert after(1, 1_000) == ["c"]
    assert after(2, 0) == after(9, 9) == []
    assert after(0, 0, limit=2) == ["a", "b"]


@pytest.mark.usefixtures("room_for_four")
def test_only_the_newest_are_kept():
    kept = Ring()
    kept.extend(entry(1, 3))
    kept.extend(entry(2, 3))

    assert places(kept) == [(1, 2), (2, 0), (2, 1), (2, 2)]
    assert (kept.dropped, kept.newest) == ((1, 1), (2, 2))


@pytest.mark.usefixtures("room_for_four")
def test_of_an_entry_that_is_too_large_its_last_events_are_kept():
    kept = Ring()
    kept.extend(entry(1, 9))

    assert places(kept) == [(1, 5), (1, 6), (1, 7), (1, 8)]


@pytest.mark.usefixtures("room_for_four")
def test_a_reader_that_would_miss_an_event_is_told_from_where_none_is_missing(driver):
    for task_id in "abcdef":
        driver.submit(task_id)

    gone = driver.machine.answer(EventsAfter(Position(1, 0)))
    kept = driver.machine.answer(EventsAfter(Position(2, 0)))

    assert gone == EventsGone(Position(2, 0))
    assert isinstance(kept, Events)
    assert [event.task_id for event in kept.events] == ["c", "d", "e", "f"]
    assert driver.machine.answer(Span()) == EventSpan(Position(2, 0), Position(6, 0))


def test_large_errors_leave_room_for_fewer(monkeypatch):
    monkeypatch.setattr(ring, "BYTES_MAX", 4 * ring.EVENT_BYTES)
    kept = Ring()
    kept.extend(entry(1, 3))
    kept.extend(entry(2, error="x" * ring.EVENT_BYTES))
    assert len(kept) == 3

    kept.extend(entry(3, error="ß" * (ring.EVENT_BYTES // 4)))

    assert places(kept) == [(2, 0), (3, 0)]
    assert kept.bytes_used == 4 * ring.EVENT_BYTES


def test_an_event_tells_the_beginning_of_a_long_error(driver):
    driver.worker()
    driver.submit("a", max_attempts=1)
    driver.fail("a", error="x" * 10_000)

    assert driver.events[0].error == "x" * ERROR_TOLD_MAX
    assert driver.task("a").error == "x" * 10_000


@given(st.lists(st.integers(0, 6), max_size=12), st.integers(0, 12), st.integers(0, 6))
def test_paging_shows_each_event_once(counts, index, offset):
    kept = Ring()
    for number, count in enumerate(counts, start=1):
        kept.extend(entry(number, count))
    expected = [place for place in places(kept) if place > (index, offset)]

    shown = []
    at = Position(index, offset)
    while page := kept.after(at, 3):
        shown += places(page)
        at = page[-1].position

    assert shown == expected
