"""Dead letters: listed in the order in which they died, counted, removed one by one."""

import pytest

from cluster.core import queries, queue_views
from cluster.core.commands import Cancel, Refusal, Retry
from cluster.core.queue_commands import Removed, RemoveDead
from cluster.core.queue_queries import ListDead


def die(driver, *ids, **fields):
    """Let tasks fail for good, in this order."""
    queue = fields.get("queue", "default")
    for task_id in ids:
        driver.submit(task_id, **{"max_attempts": 1, **fields})
        driver.worker(f"of {task_id}", queues=(queue,))
        driver.fail(task_id)


def dead(driver, **query):
    page = driver.machine.answer(ListDead(**query))
    return [view.id for view in page.tasks], page.total


def test_the_one_that_died_first_comes_first(driver):
    driver.submit("early", max_attempts=1, queue="slow")
    die(driver, "b", "a")
    driver.worker(queues=("slow",))
    driver.fail("early")

    assert dead(driver) == (["b", "a", "early"], 3)


def test_they_are_told_by_queue_and_type(driver):
    die(driver, "a", type="x")
    die(driver, "b", type="y")
    die(driver, "c", type="x", queue="other")

    assert dead(driver, type="x") == (["a", "c"], 2)
    assert dead(driver, queue="default") == (["a", "b"], 2)
    assert dead(driver, type="x", queue="other") == (["c"], 1)
    assert dead(driver, type="y", queue="other") == ([], 0)


def test_other_tasks_that_ended_are_none(driver):
    driver.submit("a")
    driver.do(Cancel("a"))
    driver.submit("b", ttl_ms=10)
    driver.after(10)

    assert dead(driver) == ([], 0)


def test_one_that_is_tried_again_is_none_any_more(driver):
    die(driver, "a", "b")
    driver.do(Retry("a"))

    assert dead(driver) == (["b"], 1)


def test_one_that_dies_again_comes_last(driver):
    die(driver, "a", "b")
    driver.do(Retry("a"))
    driver.fail("a")

    assert dead(driver) == (["b", "a"], 2)


def test_a_page_goes_on_where_the_one_before_ended(driver):
    die(driver, *"abcde")

    first = driver.machine.answer(ListDead(limit=2))
    second = driver.machine.answer(ListDead(limit=3, cursor=first.next))

    assert [view.id for view in first.tasks] == ["a", "b"]
    assert [view.id for view in second.tasks] == ["c", "d", "e"]
    assert (first.total, second.next) == (5, None)


def test_a_cursor_whose_task_is_gone_is_still_good(driver):
    die(driver, *"abc")
    page = driver.machine.answer(ListDead(limit=2))
    driver.do(RemoveDead("b"))

    assert dead(driver, cursor=page.next) == (["c"], 2)


def test_a_call_looks_at_so_many_and_says_where_to_go_on(driver, monkeypatch):
    monkeypatch.setattr(queue_views, "EXAMINED_MAX", 3)
    die(driver, *"abc", type="x")
    die(driver, *"de", type="y")

    first = driver.machine.answer(ListDead(type="y"))
    second = driver.machine.answer(ListDead(type="y", cursor=first.next))

    assert (first.tasks, first.total) == ((), 2)
    assert ([view.id for view in second.tasks], second.next) == (["d", "e"], None)


def test_a_dead_letter_is_removed_for_good(driver):
    die(driver, "a")

    reply = driver.do(RemoveDead("a"))

    assert (reply, driver.kinds(), driver.find("a")) == (Removed("a"), ["removed"], None)


def test_what_is_gone_cannot_be_removed_again(driver):
    die(driver, "a")
    driver.do(RemoveDead("a"))

    assert driver.do(RemoveDead("a")).refusal is Refusal.TASK_UNKNOWN


@pytest.mark.parametrize("has_worker", [False, True])
def test_what_has_not_failed_is_not_removed(driver, has_worker):
    if has_worker:
        driver.worker()
    driver.submit("a")

    reply = driver.do(RemoveDead("a"))

    status = driver.status("a")
    assert reply == (Refusal.NOT_REMOVABLE, f"task a is {status}: only a dead letter is removed")


def test_there_is_one_bound_for_what_a_call_looks_at():
    assert queue_views.EXAMINED_MAX == queries.EXAMINED_MAX
