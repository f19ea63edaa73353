"""Queues: their numbers, their oldest task, and when they stand."""

import pytest

from cluster.core.commands import Cancel, Leave, Release
from cluster.core.model import TaskStatus
from cluster.core.queue_commands import PauseQueue, ResumeQueue
from cluster.core.queue_queries import GetQueue, ListQueues


def queue(driver, name="default"):
    return driver.machine.answer(GetQueue(name))


def depth(driver, name="default"):
    """How many tasks the queue has, by status; those it has none of are left out."""
    view = queue(driver, name)
    return {status.value: number for status, number in view.by_status if number}


def names(driver, **query):
    page = driver.machine.answer(ListQueues(**query))
    return [view.name for view in page.queues], page.next


def test_a_queue_counts_its_tasks_as_they_move(driver):
    driver.worker()
    driver.submit("runs", "waits")
    driver.submit("later", delay_ms=50)
    driver.submit("elsewhere", queue="other")

    before = depth(driver)
    driver.complete("runs")
    driver.fail("waits")

    assert before == {"processing": 1, "pending": 1, "scheduled": 1}
    assert depth(driver) == {"completed": 1, "retrying": 1, "scheduled": 1}
    assert depth(driver, "other") == {"pending": 1}


def test_every_status_is_told_though_there_be_none(driver):
    driver.submit("a")

    assert [status for status, _ in queue(driver).by_status] == list(TaskStatus)


def test_a_queue_stands_as_long_as_it_has_tasks(driver):
    driver.submit("a", queue="brief", retention_ms=100)
    driver.do(Cancel("a"))
    driver.after(99)
    before = names(driver)
    driver.after(1)

    assert (before, names(driver), queue(driver, "brief")) == ((["brief"], None), ([], None), None)


def test_a_paused_queue_stands_without_tasks(driver):
    driver.do(PauseQueue("q"))
    paused = queue(driver, "q")
    driver.do(ResumeQueue("q"))

    assert (paused.name, paused.is_paused) == ("q", True)
    assert queue(driver, "q") is None


def test_a_queue_that_loses_its_last_task_while_it_is_paused_stays(driver):
    driver.submit("a", retention_ms=0)
    driver.do(PauseQueue("default"))
    driver.do(Cancel("a"))

    assert depth(driver) == {}


def test_queues_are_listed_by_name(driver):
    for name in ("b", "c", "a", "B"):
        driver.submit(name, queue=name)

    assert names(driver) == (["B", "a", "b", "c"], None)


def test_a_page_of_queues_goes_on_where_the_one_before_ended(driver):
    for name in "abcde":
        driver.submit(name, queue=name)

    first, cursor = names(driver, limit=2)
    second, end = names(driver, limit=3, cursor=cursor)

    assert (first, second, end) == (["a", "b"], ["c", "d", "e"], None)


def test_a_cursor_whose_queue_is_gone_is_still_good(driver):
    driver.submit("a", queue="a", retention_ms=0)
    driver.submit("b", queue="b")
    _, cursor = names(driver, limit=1)
    driver.do(Cancel("a"))

    assert names(driver, cursor=cursor) == (["b"], None)


def test_namespaces_have_queues_of_their_own(driver):
    driver.submit("a", namespace="theirs")

    assert names(driver) == ([], None)
    assert names(driver, namespace="theirs") == (["default"], None)


def test_the_oldest_pending_task_is_told_by_when_it_became_so(driver):
    driver.submit("delayed", delay_ms=400)
    driver.after(100)
    driver.submit("low", priority=0)
    driver.after(100)
    driver.submit("high", priority=9)

    oldest = queue(driver).pending_since_ms
    driver.worker()  # It takes `high`.
    still = queue(driver).pending_since_ms
    driver.complete("high")  # It takes `low`.
    none = queue(driver).pending_since_ms
    driver.after(300)

    assert (oldest, still, none, queue(driver).pending_since_ms) == (100, 100, None, 500)


def test_a_released_task_is_as_old_as_it_was(driver):
    driver.submit("a")
    driver.after(100)
    driver.submit("b")
    driver.worker()
    driver.do(Leave("w"))

    assert queue(driver).pending_since_ms == 0


@pytest.mark.parametrize("priority", [0, 9])
def test_a_task_that_became_pending_at_the_beginning_of_time_did_so_at_zero(driver, priority):
    driver.submit("a", priority=priority)

    assert queue(driver).pending_since_ms == 0


def test_a_released_task_is_counted_where_it_is(driver):
    driver.worker()
    driver.submit("a")
    driver.do(PauseQueue("default"))
    driver.do(Release("a", 1))

    assert depth(driver) == {"pending": 1}
