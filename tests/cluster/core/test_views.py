"""What can be asked."""

from cluster.core.commands import Cancel, Drain, Leave, Submit
from cluster.core.model import NewTask, TaskStatus
from cluster.core.queries import (
    Count,
    GetTask,
    GetWorker,
    ListTasks,
    ListWorkers,
    WorkerLeases,
)


def listed(driver, **filters):
    page = driver.machine.answer(ListTasks(**filters))
    return [task.id for task in page.tasks], page.next


def roll(driver, **page):
    answer = driver.machine.answer(ListWorkers(**page))
    return [worker.id for worker in answer.workers], answer.next


def test_what_is_not_there_is_none(driver):
    machine = driver.machine

    assert machine.answer(GetTask("a")) is None
    assert machine.answer(GetWorker("w")) is None
    assert machine.answer(WorkerLeases("w")) == ()


def test_asking_about_a_namespace_does_not_make_one(driver):
    driver.machine.answer(Count("theirs"))

    assert driver.machine.state.spaces == {}


def test_tasks_are_listed_newest_first(driver):
    driver.submit("a", "b")
    driver.submit("c")

    assert listed(driver) == (["c", "b", "a"], None)


def test_a_page_ends_at_its_limit_and_the_next_goes_on(driver):
    driver.submit("a", "b", "c", "d", "e")

    first, cursor = listed(driver, limit=2)
    second, cursor = listed(driver, limit=2, cursor=cursor)
    third, end = listed(driver, limit=2, cursor=cursor)

    assert (first, second, third, end) == (["e", "d"], ["c", "b"], ["a"], None)


def test_a_last_page_that_is_full_has_no_next(driver):
    driver.submit("a", "b")

    assert listed(driver, limit=2) == (["b", "a"], None)


def test_pages_go_on_where_they_were_whatever_came_and_went(driver):
    driver.submit("a", "b", "c", "d", retention_ms=0)
    _, cursor = listed(driver, limit=2)
    driver.do(Cancel("c"))
    driver.submit("e")

    assert listed(driver, cursor=cursor)[0] == ["b", "a"]


def test_a_page_looks_at_five_thousand_tasks_at_most(driver):
    driver.worker(queues=("rare",))
    driver.submit("old", queue="rare")
    for batch in range(6):
        driver.submit(*(f"{batch}-{n}" for n in range(1_000)))

    first, cursor = listed(driver, worker_id="w")
    second, end = listed(driver, worker_id="w", cursor=cursor)

    assert (first, second, end) == ([], ["old"], None)


def test_what_is_rare_is_found_behind_many_others(driver):
    driver.submit("old", queue="rare")
    for batch in range(6):
        driver.submit(*(f"{batch}-{n}" for n in range(1_000)))

    assert listed(driver, queue="rare", limit=1) == (["old"], None)
    assert listed(driver, queue="rare", status=TaskStatus.FAILED) == ([], None)


def test_every_filter_must_match(driver):
    driver.worker(queues=("q",))
    driver.submit("a", queue="q", type="x")
    driver.submit("b", queue="q", type="y")
    driver.submit("c", queue="r", type="x")

    assert listed(driver, queue="q")[0] == ["b", "a"]
    assert listed(driver, type="x")[0] == ["c", "a"]
    assert listed(driver, status=TaskStatus.PENDING)[0] == ["c", "b"]
    assert listed(driver, worker_id="w")[0] == ["a"]
    assert listed(driver, worker_id="w", type="y")[0] == []


def test_a_listing_is_of_one_namespace(driver):
    driver.submit("a")
    driver.do(Submit((NewTask.of("b", "t", b"", "json", namespace="theirs"),)))

    assert listed(driver) == (["a"], None)


def test_a_task_that_nobody_serves_waits_for_a_worker(driver):
    driver.worker("v", types=("other",))
    driver.submit("a")

    assert driver.task("a").waiting_for == "worker"


def test_a_task_whose_workers_are_busy_waits_for_nothing_else(driver):
    driver.worker()
    driver.submit("a", "b")

    assert driver.task("b").waiting_for is None


def test_a_draining_worker_serves_nothing(driver):
    driver.worker()
    driver.submit("a", "b")
    driver.do(Drain("w"))

    assert driver.task("b").waiting_for == "worker"


def test_a_task_that_ended_waits_for_nothing(driver):
    driver.submit("a")
    driver.do(Cancel("a"))

    assert driver.task("a").waiting_for is None


def test_a_worker_reads_as_it_stands(driver):
    driver.wall_ms = 7
    driver.worker(slots=2, tags=("gpu",), types=("t",))
    driver.submit("a")
    driver.wall_ms = 9
    driver.heartbeat("w", 1)

    worker = driver.session()

    assert (worker.id, worker.name, worker.status, worker.slots) == ("w", "w", "active", 2)
    assert (worker.queues, worker.tags, worker.types) == (("default",), ("gpu",), ("t",))
    assert (worker.current_tasks, worker.started_at_ms, worker.last_heartbeat_ms) == (("a",), 7, 9)


def test_workers_are_listed_oldest_first(driver):
    driver.register("v")
    driver.register("u")

    assert roll(driver) == (["v", "u"], None)


def test_a_page_of_workers_ends_at_its_limit_and_the_next_goes_on(driver):
    for worker_id in "edcba":
        driver.register(worker_id)

    first, cursor = roll(driver, limit=2)
    driver.do(Leave("d"))
    driver.do(Leave("c"))
    driver.register("f")
    second, cursor = roll(driver, limit=2, cursor=cursor)
    third, end = roll(driver, limit=2, cursor=cursor)

    assert (first, second, third, end) == (["e", "d"], ["b", "a"], ["f"], None)


def test_a_page_of_workers_names_five_thousand_tasks_or_so_at_most(driver):
    for worker_id in "abcdefgh":
        driver.worker(worker_id, slots=1_000)
    for batch in range(8):
        driver.submit(*(f"{batch}-{n}" for n in range(1_000)))

    first, cursor = roll(driver)
    second, end = roll(driver, cursor=cursor)

    assert (first, second, end) == (list("abcde"), list("fgh"), None)


def test_where_no_worker_is_a_page_is_empty(driver):
    assert roll(driver) == ([], None)


def test_counts_name_every_status(driver):
    driver.worker()
    driver.submit("a", "b", "c")
    driver.complete("a")

    counts = driver.machine.answer(Count())

    assert [status for status, _ in counts.by_status] == list(TaskStatus)
    assert {status.value: n for status, n in counts.by_status if n} == {
        "processing": 1,
        "pending": 1,
        "completed": 1,
    }
    assert (counts.completed_ever, counts.workers_active) == (1, 1)


def test_lost_and_draining_workers_are_not_counted_as_active(driver):
    driver.register("u")
    driver.after(15_000)
    driver.register("v")
    driver.do(Drain("v"))

    assert driver.machine.answer(Count()).workers_active == 0
