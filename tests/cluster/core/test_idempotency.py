"""Idempotency keys: one key, one task, for a day."""

import pytest

from cluster.core import submitting, sweeping
from cluster.core.commands import Cancel, Refusal, Submit, SubmittedTask
from cluster.core.idempotency import REMEMBERED_MS, slot_of
from cluster.core.model import Idempotency, NewTask, TaskStatus
from cluster.core.queries import Count
from cluster.core.queue_commands import PurgeQueue

PENDING = TaskStatus.PENDING


def keyed(task_id, key="k", body=b"body", **fields):
    return NewTask.of(task_id, "t", b"{}", "json", idempotency=Idempotency(key, body), **fields)


def submit(driver, *tasks):
    return driver.do(Submit(tasks))


def submitted(driver, *tasks):
    return list(submit(driver, *tasks).tasks)


def test_a_repeat_is_the_same_task(driver):
    first = submitted(driver, keyed("a"))
    again = submitted(driver, keyed("b"))

    assert first == [SubmittedTask("a", PENDING, is_duplicate=False)]
    assert again == [SubmittedTask("a", PENDING, is_duplicate=True)]
    assert (driver.kinds(), driver.find("b")) == ([], None)


def test_a_repeat_tells_how_far_the_task_is(driver):
    submit(driver, keyed("a"))
    driver.do(Cancel("a"))

    assert submitted(driver, keyed("b")) == [SubmittedTask("a", TaskStatus.CANCELLED, True)]


def test_a_repeat_of_a_task_that_was_removed_says_so(driver):
    submit(driver, keyed("a"))
    driver.do(PurgeQueue("o", "default"))

    assert submitted(driver, keyed("b")) == [SubmittedTask("a", None, is_duplicate=True)]


def test_the_key_with_another_body_is_a_conflict(driver):
    submit(driver, keyed("a"))

    refused = submit(driver, keyed("b", body=b"other"))

    assert refused == (
        Refusal.IDEMPOTENCY_CONFLICT,
        "the idempotency key 'k' stands for another body: use another key",
    )
    assert driver.find("b") is None


def test_a_conflict_within_a_command_refuses_all_of_it(driver):
    refused = submit(driver, keyed("a"), keyed("b", key="l"), keyed("c", body=b"other"))

    assert refused.refusal is Refusal.IDEMPOTENCY_CONFLICT
    assert sum(number for _, number in driver.machine.answer(Count()).by_status) == 0
    assert submitted(driver, keyed("d", key="l", body=b"new"))[0].is_duplicate is False


def test_a_repeat_within_a_command_is_the_same_task(driver):
    assert submitted(driver, keyed("a"), keyed("b"), keyed("c", key="l")) == [
        SubmittedTask("a", PENDING, is_duplicate=False),
        SubmittedTask("a", PENDING, is_duplicate=True),
        SubmittedTask("c", PENDING, is_duplicate=False),
    ]


def test_a_key_is_of_one_namespace(driver):
    submit(driver, keyed("a"))

    theirs = submitted(driver, keyed("b", body=b"other", namespace="theirs"))

    assert theirs == [SubmittedTask("b", PENDING, is_duplicate=False)]


@pytest.mark.parametrize(("one", "other"), [(("a", "bc"), ("ab", "c")), (("", "1:a"), ("a", ""))])
def test_namespace_and_key_do_not_run_together(one, other):
    assert slot_of(*one) != slot_of(*other)


def test_a_task_that_is_known_by_its_id_is_remembered_by_the_key(driver):
    driver.submit("a")

    by_id = submitted(driver, keyed("a"))
    by_key = submitted(driver, keyed("b"))

    assert by_id == by_key == [SubmittedTask("a", PENDING, is_duplicate=True)]


def test_a_known_key_goes_before_a_known_id(driver):
    driver.submit("other", type="x")
    submit(driver, keyed("a"))

    assert submitted(driver, keyed("other")) == [SubmittedTask("a", PENDING, is_duplicate=True)]


def test_a_key_is_forgotten_after_a_day(driver):
    submit(driver, keyed("a"))
    driver.after(REMEMBERED_MS - 1)
    before = submitted(driver, keyed("b", body=b"body"))
    due_ms = driver.machine.next_deadline().wall_ms
    driver.after(1)

    assert before[0].is_duplicate
    assert due_ms == driver.wall_ms
    assert submitted(driver, keyed("b", body=b"other"))[0].task_id == "b"


def test_a_repeat_does_not_make_it_last_longer(driver):
    submit(driver, keyed("a"))
    driver.after(REMEMBERED_MS // 2)
    submit(driver, keyed("a"))
    driver.after(REMEMBERED_MS // 2)

    assert submitted(driver, keyed("b"))[0].task_id == "b"


def test_keys_are_forgotten_within_the_entrys_bound(driver, monkeypatch):
    submit(driver, *(keyed(f"t{n}", key=f"k{n}") for n in range(5)))
    monkeypatch.setattr(sweeping, "UNITS_MAX", 2)

    left = []
    driver.after(REMEMBERED_MS)
    left.append(len(driver.machine.state.keys))
    while driver.machine.next_deadline().wall_ms == driver.wall_ms:
        driver.after(0)
        left.append(len(driver.machine.state.keys))

    assert left == [3, 1, 0]


def test_without_room_for_its_key_a_submission_is_refused(driver, monkeypatch):
    monkeypatch.setattr(submitting, "KEYS_MAX", 2)
    submit(driver, keyed("a", key="a"))

    refused = submit(driver, keyed("b", key="b"), keyed("c", key="c"))

    assert refused == (
        Refusal.IDEMPOTENCY_FULL,
        "2 idempotency keys are remembered, which is the limit: try again later, or without one",
    )
    assert driver.find("b") is None


def test_repeats_and_tasks_without_a_key_need_no_room(driver, monkeypatch):
    monkeypatch.setattr(submitting, "KEYS_MAX", 1)
    submit(driver, keyed("a"))

    assert submitted(driver, keyed("b"), keyed("c"))[0].is_duplicate
    assert driver.submit("plain").tasks[0].is_duplicate is False


def test_the_same_new_key_needs_room_once(driver, monkeypatch):
    monkeypatch.setattr(submitting, "KEYS_MAX", 1)

    assert len(submitted(driver, keyed("a"), keyed("b"))) == 2
