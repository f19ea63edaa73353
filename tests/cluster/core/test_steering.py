"""Cancelling, and trying again."""

import pytest

from cluster.core.commands import Cancel, Fail, Refusal, Release, Retry, Settled
from cluster.core.model import TaskStatus


def test_a_pending_task_is_cancelled_at_once(driver):
    driver.submit("a")

    reply = driver.do(Cancel("a"))

    assert reply == Settled("a", TaskStatus.CANCELLED, is_duplicate=False)
    assert driver.kinds() == ["cancelled"]


def test_a_scheduled_task_is_cancelled_at_once(driver):
    driver.submit("a", delay_ms=100)
    driver.do(Cancel("a"))
    driver.after(100)

    assert driver.status("a") == "cancelled"


def test_a_retrying_task_is_cancelled_at_once(driver):
    driver.worker()
    driver.submit("a")
    driver.fail("a")
    driver.do(Cancel("a"))
    driver.after(10_000)

    assert driver.status("a") == "cancelled"


def test_cancelling_a_running_task_is_asked_of_its_worker(driver):
    driver.worker()
    driver.submit("a")

    driver.do(Cancel("a"))

    assert (driver.status("a"), driver.task("a").cancel_requested) == ("processing", True)
    assert [(event.kind, event.worker_id) for event in driver.events] == [("cancel_requested", "w")]


def test_asking_again_is_asking_once(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Cancel("a"))

    reply = driver.do(Cancel("a"))

    assert reply == Settled("a", TaskStatus.PROCESSING, is_duplicate=True)
    assert driver.kinds() == []


def test_cancelling_again_is_cancelling_once(driver):
    driver.submit("a")
    driver.do(Cancel("a"))

    assert driver.do(Cancel("a")) == Settled("a", TaskStatus.CANCELLED, is_duplicate=True)


def test_a_task_that_ended_cannot_be_cancelled(driver):
    driver.worker()
    driver.submit("a")
    driver.complete("a")

    reply = driver.do(Cancel("a"))

    assert reply == (Refusal.NOT_CANCELLABLE, "task a is completed: it has ended already")


def test_an_unknown_task_cannot_be_cancelled(driver):
    assert driver.do(Cancel("a")).refusal is Refusal.TASK_UNKNOWN


@pytest.mark.parametrize("command", [Fail("a", 1, "stopped"), Release("a", 1)])
def test_a_worker_that_gives_a_cancelled_task_up_ends_it(driver, command):
    driver.worker()
    driver.submit("a")
    driver.do(Cancel("a"))

    driver.do(command)

    assert (driver.status("a"), driver.task("a").attempts) == ("cancelled", 0)


def test_a_completion_after_a_cancellation_was_asked_for_is_accepted(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Cancel("a"))

    assert driver.complete("a").status is TaskStatus.COMPLETED


def test_a_dead_letter_is_put_back_as_new(driver):
    driver.worker()
    driver.submit("a", max_attempts=1)
    driver.fail("a")

    reply = driver.do(Retry("a"))

    task = driver.task("a")
    assert reply.task_id == "a"
    assert (task.status, task.attempts, task.error, task.finished_at_ms) == (
        "processing",
        0,
        None,
        None,
    )


def test_a_cancelled_task_that_is_put_back_is_not_to_be_cancelled(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Cancel("a"))
    driver.do(Release("a", 1))
    driver.do(Retry("a"))

    assert not driver.task("a").cancel_requested


def test_an_expired_task_that_is_put_back_may_wait_as_long_again(driver):
    driver.submit("a", ttl_ms=100)
    driver.after(100)
    driver.do(Retry("a"))
    driver.after(99)
    before = driver.status("a")
    driver.after(1)

    assert (before, driver.status("a")) == ("pending", "expired")


def test_a_task_that_is_put_back_goes_to_the_end_of_its_queue(driver):
    driver.submit("a", "b")
    driver.do(Cancel("a"))
    driver.do(Retry("a"))
    driver.worker()

    assert driver.work_off() == ["b", "a"]


def test_a_task_that_has_not_failed_is_not_retried(driver):
    driver.submit("a")

    reply = driver.do(Retry("a"))

    assert reply.refusal is Refusal.NOT_RETRYABLE
    assert reply.detail == ("task a is pending: only a failed, cancelled or expired one is retried")


def test_an_unknown_task_is_not_retried(driver):
    assert driver.do(Retry("a")).refusal is Refusal.TASK_UNKNOWN
