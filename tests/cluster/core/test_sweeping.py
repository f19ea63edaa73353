"""What becomes due by itself: expiry, removal, and the deadlines that tell of it."""

from cluster.core.commands import Cancel, Release, Tick, Ticked
from cluster.core.queries import Count

DAY_MS = 86_400_000


def test_a_task_that_waits_too_long_expires(driver):
    driver.submit("a", ttl_ms=100)
    driver.after(99)
    before = driver.status("a")
    driver.after(1)

    assert (before, driver.status("a"), driver.kinds()) == ("pending", "expired", ["expired"])


def test_a_delayed_task_begins_to_wait_when_it_is_due(driver):
    driver.submit("a", ttl_ms=100, delay_ms=50)
    driver.after(149)
    before = driver.status("a")
    driver.after(1)

    assert (before, driver.status("a")) == ("pending", "expired")


def test_a_running_task_does_not_expire(driver):
    driver.worker()
    driver.submit("a", ttl_ms=100)
    driver.after(100)

    assert driver.status("a") == "processing"


def test_a_task_that_goes_back_too_late_expires(driver):
    driver.worker()
    driver.submit("a", ttl_ms=100)
    driver.after(100)
    driver.do(Release("a", 1))

    assert driver.kinds() == ["released", "expired"]


def test_a_task_expires_while_it_waits_for_its_retry(driver):
    driver.worker()
    driver.submit("a", ttl_ms=1_000)
    driver.fail("a")
    driver.after(1_000)

    assert driver.status("a") == "expired"


def test_a_retry_that_comes_before_the_expiry_is_made(driver):
    driver.worker()
    driver.submit("a", ttl_ms=60_000)
    driver.fail("a")
    driver.after(10_000)

    assert driver.status("a") == "processing"


def test_a_finished_task_is_removed_after_its_retention(driver):
    driver.submit("a", retention_ms=100)
    driver.do(Cancel("a"))
    driver.after(99)
    before = driver.find("a")
    driver.after(1)

    assert (before.status, driver.find("a"), driver.kinds()) == ("cancelled", None, ["removed"])


def test_a_task_without_retention_is_gone_with_its_entry(driver):
    driver.worker()
    driver.submit("a", retention_ms=0)
    driver.complete("a")

    assert (driver.kinds(), driver.find("a")) == (["completed", "removed"], None)


def test_a_dead_letter_outlives_its_retention(driver):
    driver.worker()
    driver.submit("a", retention_ms=100)
    driver.fail("a", retry=False)
    driver.after(DAY_MS)

    assert driver.status("a") == "failed"


def test_removed_tasks_stay_counted_as_completed(driver):
    driver.worker()
    driver.submit("a", retention_ms=0)
    driver.complete("a")

    assert driver.machine.answer(Count()).completed_ever == 1


def test_a_tick_tells_how_much_was_due(driver):
    driver.submit("a", "b", ttl_ms=100)
    driver.wall_ms += 100

    assert driver.do(Tick()) == Ticked(2)


def test_an_entry_does_a_thousand_things_that_are_due(driver):
    for batch in range(2):
        driver.submit(*(f"{batch}-{n}" for n in range(1_000)), ttl_ms=100)
    units = [driver.after(each).replies[0].units for each in (100, 0, 0)]

    assert units == [1_000, 1_000, 0]


def test_nothing_is_due_in_an_empty_machine(driver):
    assert driver.machine.next_deadline() == (None, None)


def test_the_deadlines_are_the_earliest_of_each_clock(driver):
    driver.worker()
    driver.submit("a", timeout_ms=700)
    driver.submit("b", delay_ms=300)
    driver.submit("c", ttl_ms=200)

    assert driver.machine.next_deadline() == (700, 1_000_200)


def test_a_session_has_a_deadline(driver):
    driver.register()

    assert driver.machine.next_deadline() == (15_000, None)


def test_a_heartbeat_moves_the_deadline(driver):
    driver.register()
    driver.after(1_000)
    driver.heartbeat()

    assert driver.machine.next_deadline().cluster_ms == 16_000


def test_many_scheduled_tasks_due_at_once_go_by_priority(driver):
    driver.worker()
    driver.submit("low", delay_ms=100, priority=1)
    driver.submit("high", delay_ms=100, priority=9)
    driver.after(100)

    assert driver.work_off() == ["high", "low"]
