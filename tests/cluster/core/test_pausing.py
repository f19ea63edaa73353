"""Paused queues: nothing of theirs is leased until they are resumed."""

from cluster.core import pausing
from cluster.core.commands import Complete, Offer, Refusal, Release, Submit
from cluster.core.model import NewTask
from cluster.core.queue_commands import PauseQueue, ResumeQueue, Steered
from cluster.core.queue_queries import GetQueue


def pause(driver, name="default"):
    return driver.do(PauseQueue(name))


def resume(driver, name="default"):
    return driver.do(ResumeQueue(name))


def test_a_paused_queues_tasks_are_not_leased(driver):
    pause(driver)
    driver.worker()

    driver.submit("a")

    assert driver.status("a") == "pending"


def test_a_worker_that_gets_room_gets_nothing_of_a_paused_queue(driver):
    driver.submit("a")
    pause(driver)

    driver.worker()

    assert driver.held() == []


def test_a_worker_of_some_types_gets_nothing_of_a_paused_queue(driver):
    driver.submit("a")
    pause(driver)

    driver.worker(types=("t",))

    assert driver.held() == []


def test_a_running_task_goes_on(driver):
    driver.worker()
    driver.submit("a", "b")
    pause(driver)

    driver.complete("a")

    assert (driver.status("a"), driver.status("b")) == ("completed", "pending")


def test_a_task_that_goes_back_to_a_paused_queue_stays_there(driver):
    driver.worker()
    driver.submit("a")
    pause(driver)

    driver.do(Release("a", 1))

    assert driver.status("a") == "pending"


def test_a_resumed_queues_tasks_are_leased_at_once(driver):
    pause(driver)
    driver.submit("a", "b", "c")
    driver.worker("v", slots=1, types=("t",))
    driver.worker("w", slots=1)

    resume(driver)

    assert [driver.status(task_id) for task_id in "abc"] == ["processing", "processing", "pending"]
    assert driver.kinds() == ["queue_resumed", "leased", "leased"]


def test_other_queues_are_not_touched(driver):
    pause(driver)
    driver.worker(queues=("default", "other"))
    driver.submit("here")
    driver.submit("there", queue="other")

    assert (driver.status("here"), driver.status("there")) == ("pending", "processing")


def test_a_namespaces_queue_of_the_same_name_is_not_touched(driver):
    pause(driver)
    driver.register(namespace="theirs")
    driver.do(Offer("w", 1, 1, is_standing=True, namespace="theirs"))
    driver.submit("a", namespace="theirs")

    assert driver.kinds() == ["submitted", "leased"]


def test_every_required_tag_of_a_paused_queue_waits(driver):
    driver.submit("plain")
    pause(driver)
    driver.submit("tagged", requires=("gpu",))
    driver.worker(slots=2, tags=("gpu",))
    before = driver.held()
    resume(driver)

    assert (before, driver.held()) == ([], ["plain", "tagged"])


def test_a_queue_is_paused_and_resumed_with_an_event(driver):
    assert pause(driver) == Steered("default", is_paused=True, is_duplicate=False)
    paused = driver.events
    assert resume(driver) == Steered("default", is_paused=False, is_duplicate=False)

    told = [(event.kind, event.queue) for event in (*paused, *driver.events)]
    assert told == [("queue_paused", "default"), ("queue_resumed", "default")]


def test_pausing_again_is_pausing_once(driver):
    pause(driver)

    assert pause(driver) == Steered("default", is_paused=True, is_duplicate=True)
    assert driver.events == ()


def test_a_queue_that_is_not_paused_is_resumed_already(driver):
    driver.submit("a")

    assert resume(driver) == Steered("default", is_paused=False, is_duplicate=True)
    assert resume(driver, "unknown") == Steered("unknown", is_paused=False, is_duplicate=True)
    assert driver.machine.answer(GetQueue("unknown")) is None


def test_no_more_queues_are_paused_than_are_kept(driver, monkeypatch):
    monkeypatch.setattr(pausing, "PAUSED_MAX", 2)
    pause(driver, "a")
    pause(driver, "b")

    refused = pause(driver, "c")
    again = pause(driver, "b")
    resume(driver, "a")
    after = pause(driver, "c")

    assert refused == (
        Refusal.QUEUES_FULL,
        "2 queues are paused, which is the limit: resume some",
    )
    assert again.is_duplicate
    assert after.is_paused


def test_within_an_entry_the_order_of_commands_decides(driver):
    driver.worker()
    task = NewTask.of("a", "t", b"{}", "json")

    driver.entry(
        PauseQueue("default"), Submit((task,)), ResumeQueue("default"), Complete("a", 1, b"")
    )

    assert driver.status("a") == "completed"
