"""What follows a failed attempt."""

import pytest

from cluster.core.commands import Cancel
from cluster.core.model import Backoff
from cluster.core.retrying import backoff_ms

CALM = Backoff(jitter_thousandths=0)


def test_a_failed_attempt_is_tried_again_after_the_backoff(driver):
    driver.worker()
    driver.submit("a", backoff=CALM)
    driver.fail("a")

    task = driver.task("a")

    assert (task.status, task.attempts, task.error) == ("retrying", 1, "broken")
    assert task.retry_at_ms == 1_000_000 + 5_000


def test_the_next_attempt_begins_when_the_backoff_has_passed(driver):
    driver.worker()
    driver.submit("a", backoff=CALM)
    driver.fail("a")
    driver.after(4_999)
    before = driver.status("a")
    driver.after(1)

    assert (before, driver.kinds()) == ("retrying", ["ready", "leased"])
    assert driver.leases()[0].attempt == 2


def test_the_last_attempt_makes_a_dead_letter(driver):
    driver.worker()
    driver.submit("a", max_attempts=2)
    driver.fail("a")
    driver.after(10_000)
    driver.fail("a")

    task = driver.task("a")
    assert (task.status, task.attempts, driver.kinds()) == ("failed", 2, ["failed"])


def test_a_failure_that_must_not_be_retried_makes_a_dead_letter(driver):
    driver.worker()
    driver.submit("a")

    driver.fail("a", retry=False)

    assert (driver.status("a"), driver.task("a").attempts) == ("failed", 1)


def test_a_run_that_takes_too_long_fails(driver):
    driver.worker()
    driver.submit("a", timeout_ms=1_000)
    driver.after(999)
    before = driver.status("a")
    driver.after(1)

    task = driver.task("a")
    assert (before, task.status, task.error, task.attempts) == (
        "processing",
        "retrying",
        "timeout",
        1,
    )


def test_a_timeout_kills_the_token(driver):
    driver.worker()
    driver.submit("a", timeout_ms=1_000)
    driver.after(1_000)

    assert driver.complete("a", 1).detail == "lease 1 on task a has ended: the task is retrying"
    assert driver.heartbeat("w", 1).lost == (1,)


def test_a_run_that_ended_has_no_timeout(driver):
    driver.worker()
    driver.submit("a", timeout_ms=1_000)
    driver.complete("a")

    driver.after(1_000)

    assert driver.status("a") == "completed"


def test_a_run_to_be_cancelled_that_takes_too_long_is_cancelled(driver):
    driver.worker()
    driver.submit("a", timeout_ms=1_000)
    driver.do(Cancel("a"))

    driver.after(1_000)

    assert driver.status("a") == "cancelled"


@pytest.mark.parametrize(
    ("attempt", "delay_ms"),
    [(1, 5_000), (2, 10_000), (3, 20_000), (10, 2_560_000), (11, 3_600_000)],
)
def test_each_backoff_is_twice_the_one_before_up_to_the_longest(attempt, delay_ms):
    assert backoff_ms(CALM, task_id="a", attempt=attempt) == delay_ms


def test_a_backoff_that_does_not_grow_is_soon_computed():
    steady = Backoff(initial_ms=100, multiplier_thousandths=1_000, jitter_thousandths=0)

    assert backoff_ms(steady, task_id="a", attempt=10**12) == 100


def test_a_backoff_may_shrink_to_nothing():
    shrinking = Backoff(initial_ms=100, multiplier_thousandths=500, jitter_thousandths=0)

    assert backoff_ms(shrinking, task_id="a", attempt=10**12) == 0


def test_small_steps_of_a_backoff_are_not_rounded_away():
    slow = Backoff(initial_ms=5, multiplier_thousandths=1_100, jitter_thousandths=0)

    assert [backoff_ms(slow, task_id="a", attempt=n) for n in (1, 2, 3, 9)] == [5, 5, 6, 10]


def test_jitter_stays_within_its_share():
    delays = [backoff_ms(Backoff(), task_id=str(n), attempt=1) for n in range(1_000)]

    assert 4_500 <= min(delays) < 4_520
    assert 5_480 < max(delays) <= 5_500


def test_jitter_is_the_same_everywhere():
    assert backoff_ms(Backoff(), task_id="a", attempt=1) == 4_785


def test_jitter_differs_from_attempt_to_attempt():
    steady = Backoff(multiplier_thousandths=1_000)

    assert backoff_ms(steady, task_id="a", attempt=1) != backoff_ms(steady, task_id="a", attempt=2)
