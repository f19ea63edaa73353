"""Operations: purges and bulk retries, some tasks with every entry, until all is done."""

import pytest

from cluster.core import operating, operations, sweeping
from cluster.core.commands import Cancel, Complete, Refusal, Release, Retry, Tick
from cluster.core.operations import REMEMBERED_MS, OperationKind
from cluster.core.queries import Count
from cluster.core.queue_commands import PauseQueue, PurgeQueue, RemoveDead, RetryDead, Started
from cluster.core.queue_queries import GetOperation, GetQueue, ListDead, OperationView
from tests.cluster.core.test_dead_letters import dead, die


def operation(driver, operation_id="o"):
    return driver.machine.answer(GetOperation(operation_id))


def progress(driver, operation_id="o"):
    view = operation(driver, operation_id)
    return view.done, view.total, view.is_finished


def finish(driver):
    """Tick while work is left, at the times that the machine names, and count the entries."""
    entries = 0
    while driver.machine.next_deadline().cluster_ms == driver.cluster_ms:
        driver.do(Tick())
        entries += 1
    return entries


@pytest.fixture
def slow(monkeypatch):
    """Each entry moves two tasks at most."""
    monkeypatch.setattr(sweeping, "UNITS_MAX", 2)


def test_a_purge_removes_what_waits(driver):
    driver.worker()
    driver.submit("fails")
    driver.fail("fails")
    driver.submit("runs", "pending")
    driver.submit("scheduled", delay_ms=50)

    reply = driver.do(PurgeQueue("o", "default"))

    assert reply == Started("o", is_duplicate=False)
    assert progress(driver) == (3, 3, True)
    assert driver.status("runs") == "processing"
    assert [driver.find(task_id) for task_id in ("fails", "pending", "scheduled")] == [None] * 3


def test_a_purge_tells_of_every_task_that_it_removes_the_newest_first(driver):
    driver.submit("a", "b")

    driver.do(PurgeQueue("o", "default"))

    assert [(event.kind, event.task_id) for event in driver.events] == [
        ("removed", "b"),
        ("removed", "a"),
    ]


def test_a_purge_leaves_what_ended(driver):
    driver.submit("a")
    driver.do(Cancel("a"))
    die(driver, "b")

    driver.do(PurgeQueue("o", "default"))

    assert (driver.status("a"), driver.status("b")) == ("cancelled", "failed")
    assert progress(driver) == (0, 0, True)


def test_a_purge_leaves_other_queues_and_namespaces_alone(driver):
    driver.submit("a", queue="other")
    driver.submit("b", namespace="theirs")

    driver.do(PurgeQueue("o", "default"))

    assert driver.status("a") == "pending"
    assert dict(driver.machine.answer(Count("theirs")).by_status)["pending"] == 1


def test_purging_a_queue_that_has_nothing_is_over_at_once(driver):
    driver.do(PurgeQueue("o", "nothing"))

    assert operation(driver) == OperationView(
        "o", OperationKind.PURGE, "nothing", None, done=0, total=0, is_finished=True
    )


def test_a_purged_queue_stands_no_more(driver):
    driver.submit("a")
    driver.do(PurgeQueue("o", "default"))

    assert driver.machine.answer(GetQueue("default")) is None


def test_a_paused_queue_is_purged_and_stays_paused(driver):
    driver.submit("a")
    driver.do(PauseQueue("default"))
    driver.do(PurgeQueue("o", "default"))

    assert driver.machine.answer(GetQueue("default")).is_paused


@pytest.mark.usefixtures("slow")
def test_a_large_purge_goes_on_with_every_entry(driver):
    driver.submit(*"abcde")
    driver.do(PurgeQueue("o", "default"))
    first = progress(driver)

    entries = finish(driver)

    assert (first, progress(driver), entries) == ((2, 5, False), (5, 5, True), 2)


@pytest.mark.usefixtures("slow")
def test_what_is_submitted_during_a_purge_stays(driver):
    driver.submit(*"abcde")
    driver.do(PurgeQueue("o", "default"))
    driver.submit("later")
    finish(driver)

    assert (progress(driver), driver.status("later")) == ((5, 5, True), "pending")


@pytest.mark.usefixtures("slow")
def test_what_runs_when_the_purge_comes_to_it_stays(driver):
    driver.submit(*"abcde")
    driver.do(PurgeQueue("o", "default"))
    driver.worker()
    finish(driver)

    assert (progress(driver), driver.held()) == ((4, 5, True), ["a"])


def test_tasks_that_are_not_meant_cost_little(driver, monkeypatch):
    monkeypatch.setattr(operating, "LOOKS_A_UNIT_MAX", 10)
    driver.submit(*(f"t{n}" for n in range(100)))
    for n in range(100):
        driver.do(Cancel(f"t{n}"))
    monkeypatch.setattr(sweeping, "UNITS_MAX", 4)

    driver.do(PurgeQueue("o", "default"))

    assert (progress(driver), finish(driver)) == ((0, 0, False), 2)
    assert progress(driver) == (0, 0, True)


def test_a_late_completion_of_a_purged_task_is_refused(driver):
    driver.worker()
    driver.submit("a")
    driver.after(15_000)  # The worker is lost, and its token still good.
    driver.do(PurgeQueue("o", "default"))

    assert driver.do(Complete("a", 1, b"r")).refusal is Refusal.TASK_UNKNOWN


def test_all_dead_letters_are_put_back_in_the_order_in_which_they_died(driver):
    die(driver, "b", "a", "c")
    driver.do(PauseQueue("default"))

    reply = driver.do(RetryDead("o"))

    assert reply == Started("o", is_duplicate=False)
    assert [(event.kind, event.task_id) for event in driver.events] == [
        ("ready", "b"),
        ("ready", "a"),
        ("ready", "c"),
    ]
    assert (progress(driver), dead(driver)) == ((3, 3, True), ([], 0))


def test_a_task_that_is_put_back_begins_anew(driver):
    die(driver, "a")
    driver.do(PauseQueue("default"))
    driver.do(RetryDead("o"))

    task = driver.task("a")
    assert (task.status, task.attempts, task.error) == ("pending", 0, None)


@pytest.mark.parametrize(
    ("meant", "left"),
    [
        ({"type": "x"}, ["b", "d"]),
        ({"queue": "other"}, ["a", "b"]),
        ({"queue": "other", "type": "x"}, ["a", "b", "d"]),
        ({"queue": "nowhere"}, ["a", "b", "c", "d"]),
    ],
)
def test_dead_letters_are_put_back_by_type_and_queue(driver, meant, left):
    die(driver, "a", type="x")
    die(driver, "b", type="y")
    die(driver, "c", type="x", queue="other")
    die(driver, "d", type="y", queue="other")

    driver.do(RetryDead("o", **meant))

    done = 4 - len(left)
    assert (dead(driver), progress(driver)) == ((left, len(left)), (done, done, True))


@pytest.mark.usefixtures("slow")
def test_what_dies_during_a_bulk_retry_stays_dead(driver):
    die(driver, *"abcde")
    driver.do(RetryDead("o"))
    driver.fail("a")
    finish(driver)

    assert (dead(driver), progress(driver)) == ((["a"], 1), (5, 5, True))


@pytest.mark.usefixtures("slow")
def test_what_is_gone_meanwhile_is_not_put_back(driver):
    die(driver, *"abcde")
    driver.do(RetryDead("o"))
    driver.entry(RemoveDead("e"), Retry("d"))
    finish(driver)

    assert (progress(driver), driver.find("e")) == ((3, 5, True), None)


@pytest.mark.usefixtures("slow")
def test_operations_are_worked_off_one_after_the_other(driver):
    driver.submit("a", "b", "c")
    driver.submit("d", "e", "f", queue="other")
    driver.entry(PurgeQueue("first", "default"), PurgeQueue("second", "other"))
    begun = progress(driver, "first"), progress(driver, "second")
    finish(driver)

    assert begun == ((2, 3, False), (0, 3, False))
    assert (progress(driver, "first"), progress(driver, "second")) == ((3, 3, True),) * 2


def test_timers_are_not_kept_waiting_by_a_long_operation(driver, monkeypatch):
    driver.submit("due", queue="other", delay_ms=100)
    driver.submit(*(f"t{n}" for n in range(20)))
    monkeypatch.setattr(sweeping, "UNITS_MAX", 4)
    driver.do(PurgeQueue("o", "default"))

    driver.after(100)

    assert (driver.status("due"), operation(driver).is_finished) == ("pending", False)


@pytest.mark.usefixtures("slow")
def test_asking_again_is_asking_once(driver):
    driver.submit(*"abcde")
    driver.do(PurgeQueue("o", "default"))

    again = driver.do(PurgeQueue("o", "default"))
    finish(driver)
    driver.submit("later")
    afterwards = driver.do(PurgeQueue("o", "default"))

    assert again == afterwards == Started("o", is_duplicate=True)
    assert (progress(driver), driver.status("later")) == ((5, 5, True), "pending")


@pytest.mark.parametrize(
    "other", [PurgeQueue("o", "other"), RetryDead("o"), RetryDead("o", queue="default")]
)
def test_an_id_is_of_one_operation(driver, other):
    driver.do(PurgeQueue("o", "default"))

    assert driver.do(other) == (
        Refusal.OPERATION_CONFLICT,
        "operation o is known as another purge: use another id",
    )


def test_an_id_is_of_one_namespace(driver):
    driver.do(PurgeQueue("o", "default"))

    assert driver.do(PurgeQueue("o", "other", "theirs")) == Started("o", is_duplicate=False)


def test_no_more_operations_are_open_than_are_kept(driver, monkeypatch):
    monkeypatch.setattr(operating, "OPEN_MAX", 2)
    monkeypatch.setattr(sweeping, "UNITS_MAX", 0)
    driver.do(PurgeQueue("a", "default"))
    driver.do(PurgeQueue("b", "default"))

    refused = driver.do(PurgeQueue("c", "default"))

    assert refused == (
        Refusal.OPERATIONS_FULL,
        "2 operations are not finished yet, which is the limit: try again later",
    )
    assert driver.do(PurgeQueue("b", "default")).is_duplicate


def test_a_finished_operation_is_remembered_for_an_hour(driver):
    driver.do(PurgeQueue("o", "default"))
    driver.after(REMEMBERED_MS - 1)
    before = operation(driver)
    due_ms = driver.machine.next_deadline().cluster_ms
    driver.after(1)

    assert before.is_finished
    assert due_ms == REMEMBERED_MS
    assert operation(driver) is None


def test_of_finished_operations_the_newest_are_remembered(driver, monkeypatch):
    monkeypatch.setattr(operations, "REMEMBERED_MAX", 2)
    for operation_id in "abc":
        driver.do(PurgeQueue(operation_id, "default"))

    assert [operation(driver, each) is None for each in "abc"] == [True, False, False]


def test_an_unknown_operation_is_none(driver):
    assert operation(driver) is None
    assert driver.machine.answer(GetOperation("o", "theirs")) is None


@pytest.mark.usefixtures("slow")
def test_a_released_task_may_still_be_purged(driver):
    driver.worker()
    driver.submit(*"abcde")
    driver.do(PurgeQueue("o", "default"))
    driver.do(Release("a", 1))
    driver.do(PauseQueue("default"))
    finish(driver)

    assert driver.machine.answer(ListDead()).total == 0
    assert operation(driver).is_finished
