"""How a run ends, and what it says meanwhile."""

import pytest

from cluster.core.commands import (
    Complete,
    Fail,
    Offer,
    RaiseVersion,
    Refusal,
    Release,
    Report,
    Settled,
)
from cluster.core.model import TaskStatus
from cluster.core.queries import Progress, WorkerProgress


@pytest.fixture
def running(driver):
    """A driver whose task `a` runs under lease 1."""
    driver.worker()
    driver.submit("a")
    return driver


def test_a_completed_task_has_its_result(running):
    running.complete("a", result=b"42")

    task = running.task("a")
    assert (task.status, task.result, task.worker_id) == ("completed", b"42", "w")
    assert task.finished_at_ms == 1_000_000


def test_a_completion_counts_for_its_worker(running):
    running.complete("a")

    assert running.session().tasks_processed == 1


def test_a_repeated_completion_is_answered_as_before(running):
    running.complete("a", result=b"first")

    reply = running.complete("a", result=b"second")

    assert reply == Settled("a", TaskStatus.COMPLETED, is_duplicate=True)
    assert running.task("a").result == b"first"


def test_a_completion_forgets_earlier_failures(running):
    running.fail("a")
    running.after(10_000)
    running.complete("a")

    assert (running.task("a").error, running.task("a").attempts) == (None, 1)


@pytest.mark.parametrize(
    "command",
    [
        Complete("a", 7, b""),
        Fail("a", 7, ""),
        Release("a", 7),
        Report("a", 7, b""),
    ],
)
def test_a_token_that_was_never_given_changes_nothing(running, command):
    reply = running.do(command)

    assert reply == (Refusal.LEASE_LOST, "lease 7 on task a was never given")
    assert running.status("a") == "processing"


@pytest.mark.parametrize(
    "command",
    [
        Complete("x", 1, b""),
        Fail("x", 1, ""),
        Release("x", 1),
        Report("x", 1, b""),
    ],
)
def test_an_unknown_task_is_refused(running, command):
    reply = running.do(command)

    assert reply.refusal is Refusal.TASK_UNKNOWN
    assert reply.detail == "task x is not known: never submitted, or removed since"


def test_a_task_that_was_never_leased_has_no_token(driver):
    driver.submit("a")

    assert driver.complete("a", 1).detail == "lease 1 on task a was never given"


def test_a_superseded_token_cannot_complete_the_task(running):
    running.do(Release("a", 1))

    reply = running.complete("a", 1)

    assert reply.detail == "lease 1 on task a was superseded by lease 2"
    assert running.status("a") == "processing"


def test_a_repeated_failure_is_answered_as_before(running):
    running.fail("a", 1)

    reply = running.fail("a", 1)

    assert reply == Settled("a", TaskStatus.RETRYING, is_duplicate=True)
    assert running.task("a").attempts == 1


def test_a_repeated_failure_is_known_while_the_task_runs_again(running):
    running.fail("a", 1)
    running.after(10_000)

    assert running.fail("a", 1) == Settled("a", TaskStatus.PROCESSING, is_duplicate=True)


def test_a_failed_run_cannot_be_completed_afterwards(running):
    running.fail("a", 1)

    assert running.complete("a", 1).detail == "lease 1 on task a has ended: the task is retrying"


def test_a_completed_run_cannot_fail_afterwards(running):
    running.complete("a", 1)

    assert running.fail("a", 1).detail == "lease 1 on task a has ended: the task is completed"


def test_a_released_task_is_neither_attempted_nor_failed(running):
    running.do(Release("a", 1))

    task = running.task("a")
    assert (task.attempts, task.deliveries, task.lease_token) == (0, 2, 2)


def test_a_release_ends_a_row_of_lost_workers(driver):
    driver.submit("a")
    for worker_id in ("u", "v"):
        driver.worker(worker_id)
        driver.after(15_000)
    driver.register("w")
    driver.do(Offer("w", 1, 1, is_standing=False))
    driver.do(Release("a", driver.token("a")))
    driver.worker("x")
    driver.after(15_000)

    assert driver.status("a") == "pending"


def test_progress_is_replaced_by_newer_progress(running):
    running.do(Report("a", 1, b"1"))
    running.do(Report("a", 1, b"2"))

    assert running.task("a").progress == b"2"
    assert running.kinds() == ["progress"]


def test_repeated_progress_is_no_event(running):
    running.do(Report("a", 1, b"1"))

    reply = running.do(Report("a", 1, b"1"))

    assert (reply.is_duplicate, running.kinds()) == (True, [])


@pytest.mark.parametrize(
    "end", [Release("a", 1), Fail("a", 1, "broken")], ids=["released", "failed"]
)
def test_a_new_run_finds_what_the_last_one_told(running, end):
    running.do(RaiseVersion(2))
    running.do(Report("a", 1, b"1", "json"))
    running.do(end)
    running.after(10_000)

    assert running.machine.answer(WorkerProgress("w")) == (Progress(2, b"1", "json"),)


def test_under_the_first_rules_a_new_run_begins_without_progress(running):
    running.do(Report("a", 1, b"1"))
    running.do(Release("a", 1))

    assert running.task("a").progress is None


def test_a_run_of_which_nothing_was_told_has_no_progress(running):
    assert running.machine.answer(WorkerProgress("w")) == ()


def test_a_worker_that_is_not_there_has_no_progress(running):
    assert running.machine.answer(WorkerProgress("nobody")) == ()


def test_a_lost_worker_cannot_release_or_report(running):
    running.after(15_000)

    assert running.do(Release("a", 1)).refusal is Refusal.LEASE_LOST
    assert running.do(Report("a", 1, b"1")).refusal is Refusal.LEASE_LOST
