"""Taking tasks in."""

from cluster.core.commands import Refusal, Submit
from cluster.core.dumping import dump
from cluster.core.model import Kind, NewTask, Policy
from tests.cluster.core.conftest import Driver


def new(task_id, **fields):
    return NewTask.of(task_id, fields.pop("type", "t"), b"{}", "json", **fields)


def test_a_new_task_waits_for_a_worker(driver):
    reply = driver.submit("a")

    assert [tuple(task) for task in reply.tasks] == [("a", "pending", False)]


def test_a_task_reads_as_it_was_submitted(driver):
    policy = Policy(max_attempts=2, timeout_ms=9)
    driver.do(
        Submit(
            (
                new(
                    "a",
                    queue="q",
                    priority=9,
                    policy=policy,
                    requires=("gpu",),
                    meta=(("k", "v"),),
                    traceparent="00-1",
                    submitted_by="me",
                ),
            )
        )
    )

    task = driver.task("a")

    assert (task.type, task.payload, task.content_type) == ("t", b"{}", "json")
    assert (task.queue, task.priority, task.policy) == ("q", 9, policy)
    assert (task.requires, task.meta) == (("gpu",), (("k", "v"),))
    assert (task.traceparent, task.submitted_by) == ("00-1", "me")
    assert task.created_at_ms == 1_000_000


def test_a_batch_is_answered_in_its_order(driver):
    driver.submit("b")

    reply = driver.submit("a", "b", "c")

    assert [(task.task_id, task.is_duplicate) for task in reply.tasks] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]


def test_a_batch_of_one_kind_is_taken_in_as_if_each_task_had_its_own():
    kind = Kind("t", "json", policy=Policy(ttl_ms=9))
    delays = [0, 5, 0, 0]
    together, apart = Driver(), Driver()
    for driver in (together, apart):
        driver.worker("w", slots=2)

    for driver, kinds in ((together, [kind] * 4), (apart, [Kind(*kind) for _ in delays])):
        driver.do(
            Submit(
                tuple(
                    NewTask(f"t{at}", b"{}", each, delay_ms=delay)
                    for at, (each, delay) in enumerate(zip(kinds, delays, strict=True))
                )
            )
        )

    assert together.events == apart.events
    assert list(dump(together.machine)) == list(dump(apart.machine))


def test_tasks_of_equal_kinds_share_one_record(driver):
    kind = Kind("t", "json")
    for task_id, each in (("a", kind), ("b", kind), ("c", Kind(*kind))):
        driver.do(Submit((NewTask(task_id, b"{}", each),)))

    a, b, c = (driver.machine.state.task("default", task_id) for task_id in "abc")

    assert a.kind is b.kind is c.kind


def test_the_same_id_with_the_same_body_is_the_same_task(driver):
    driver.submit("a")

    reply = driver.submit("a")

    assert reply.tasks[0].is_duplicate
    assert driver.kinds() == []


def test_a_repeat_tells_what_has_become_of_the_task(driver):
    driver.submit("a")
    driver.worker()

    assert driver.submit("a").tasks[0].status == "processing"


def test_the_same_id_with_another_body_is_refused(driver):
    driver.submit("a")

    reply = driver.submit("a", priority=9)

    assert reply.refusal is Refusal.ID_CONFLICT
    assert reply.detail == "task a is known with another body: use another id"


def test_a_batch_with_one_conflict_takes_in_nothing(driver):
    driver.submit("b")

    driver.do(Submit((new("a"), new("b", type="other"))))

    assert driver.find("a") is None


def test_a_batch_that_names_a_task_twice_takes_it_in_once(driver):
    reply = driver.do(Submit((new("a"), new("a"))))

    assert [task.is_duplicate for task in reply.tasks] == [False, True]


def test_a_batch_that_contradicts_itself_is_refused(driver):
    reply = driver.do(Submit((new("a"), new("a", priority=1))))

    assert reply.refusal is Refusal.ID_CONFLICT


def test_who_submitted_and_traced_a_task_is_not_its_body(driver):
    driver.submit("a", submitted_by="me", traceparent="00-1")

    assert driver.submit("a", submitted_by="you", traceparent="00-2").tasks[0].is_duplicate


def test_a_delay_is_the_same_body_however_late_it_is_repeated(driver):
    driver.submit("a", delay_ms=500)
    driver.after(100)

    assert driver.submit("a", delay_ms=500).tasks[0].is_duplicate


def test_another_delay_is_another_body(driver):
    driver.submit("a", delay_ms=500)

    assert driver.submit("a", delay_ms=501).refusal is Refusal.ID_CONFLICT


def test_ids_of_two_namespaces_do_not_meet(driver):
    driver.submit("a")

    reply = driver.do(Submit((new("a", type="other", namespace="theirs"),)))

    assert not reply.tasks[0].is_duplicate


def test_a_delayed_task_becomes_pending_when_its_delay_has_passed(driver):
    driver.submit("a", delay_ms=500)
    driver.after(499)
    before = driver.status("a")
    driver.after(1)

    assert (before, driver.status("a")) == ("scheduled", "pending")
    assert driver.kinds() == ["ready"]


def test_a_start_time_beats_a_delay(driver):
    driver.submit("a", delay_ms=500, run_at_ms=1_000_100)
    driver.after(100)

    assert driver.status("a") == "pending"


def test_a_start_time_in_the_past_is_now(driver):
    driver.submit("a", run_at_ms=5)

    assert driver.status("a") == "pending"
    assert driver.task("a").run_at_ms == 5
