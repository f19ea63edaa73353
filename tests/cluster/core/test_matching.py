"""Which task goes next, and to whom."""

import pytest

from cluster.core.commands import Cancel, Offer, Release, Submit
from cluster.core.lifecycle import next_turn
from cluster.core.model import PRIORITY_MAX, NewTask
from cluster.core.ready import AGEING_MS, turn_of
from cluster.core.state import State


def test_a_task_is_leased_in_the_command_that_submits_it(driver):
    driver.worker()

    driver.submit("a")

    assert driver.kinds() == ["submitted", "leased"]


def test_a_task_is_leased_in_the_command_that_offers_room(driver):
    driver.submit("a")
    driver.register()

    reply = driver.do(Offer("w", 1, 1, is_standing=True))

    assert [lease.task_id for lease in reply.leases] == ["a"]


def test_a_task_is_leased_in_the_command_that_frees_a_slot(driver):
    driver.worker()
    driver.submit("a", "b")

    driver.complete("a")

    assert driver.kinds() == ["completed", "leased"]


def test_tasks_of_one_priority_go_in_the_order_of_their_submission(driver):
    driver.submit("b", "a")
    driver.submit("c")
    driver.worker()

    assert driver.work_off() == ["b", "a", "c"]


def test_the_higher_priority_goes_first(driver):
    driver.submit("low", priority=1)
    driver.submit("high", priority=7)
    driver.submit("normal")
    driver.worker()

    assert driver.work_off() == ["high", "normal", "low"]


def test_the_higher_priority_of_one_batch_goes_first(driver):
    driver.worker()

    tasks = [NewTask.of(str(n), f"t{n}", b"", "json", priority=n) for n in range(10)]
    driver.do(Submit(tuple(tasks)))

    assert driver.work_off() == [str(n) for n in range(9, -1, -1)]


def test_across_queues_and_types_the_order_is_the_same(driver):
    driver.submit("a", queue="one", type="x")
    driver.submit("b", queue="two", type="y")
    driver.submit("c", queue="one", type="y", priority=5)
    driver.worker(queues=("one", "two"))

    assert driver.work_off() == ["c", "a", "b"]


def test_a_worker_that_names_its_types_finds_them_in_the_same_order(driver):
    driver.submit("a", type="x")
    driver.submit("b", type="z")
    driver.submit("c", type="y")
    driver.submit("d", type="x")
    driver.worker(types=("y", "x"))

    assert driver.work_off() == ["a", "c", "d"]


def test_a_released_task_takes_its_old_place(driver):
    driver.worker(slots=2)
    driver.submit("a", "b", "c", "d")
    driver.do(Offer("w", 2, 0, is_standing=True))
    driver.do(Release("b", driver.token("b")))
    driver.do(Release("a", driver.token("a")))
    driver.do(Offer("w", 3, 1, is_standing=True))

    assert driver.work_off() == ["a", "b", "c", "d"]


def test_a_retried_task_goes_behind_those_that_waited_meanwhile(driver):
    driver.worker()
    driver.submit("a", "b", "c")
    driver.do(Offer("w", 2, 1, is_standing=True))
    driver.fail("a")
    driver.after(10_000)

    assert driver.work_off() == ["b", "c", "a"]


def test_a_worker_is_given_nothing_of_other_queues(driver):
    driver.submit("a", queue="other")
    driver.worker()

    assert driver.held() == []


def test_a_worker_is_given_nothing_of_other_namespaces(driver):
    driver.submit("a", namespace="theirs")
    driver.worker()

    assert driver.held() == []


def test_a_worker_is_given_only_types_that_it_names(driver):
    driver.worker(slots=2, types=("x",))

    driver.submit("a", type="y")
    driver.submit("b", type="x")

    assert driver.held() == ["b"]


def test_a_worker_needs_every_tag_that_a_task_requires(driver):
    driver.worker("plain", slots=3, tags=("gpu",))
    driver.submit("a", requires=("big", "gpu"))
    driver.submit("b", requires=("gpu",))
    driver.worker("able", slots=3, tags=("big", "gpu", "ssd"))

    assert (driver.held("plain"), driver.held("able")) == (["b"], ["a"])


def test_a_queue_named_twice_is_served_once(driver):
    driver.submit("a")
    driver.worker(slots=2, queues=("default", "default"))

    assert driver.held() == ["a"]


def test_the_least_loaded_worker_takes_the_task(driver):
    driver.worker("small", slots=2)
    driver.worker("large", slots=8)

    driver.submit("a", "b", "c", "d", "e")

    assert (len(driver.held("small")), len(driver.held("large"))) == (1, 4)


def test_equals_take_turns(driver):
    for worker_id in ("u", "v", "w"):
        driver.worker(worker_id)
    takers = []
    for task_id in ("a", "b", "c", "d"):
        driver.submit(task_id)
        takers.append(driver.task(task_id).worker_id)
        driver.complete(task_id)

    assert takers == ["u", "v", "w", "u"]


def test_the_least_loaded_is_found_across_crews(driver):
    driver.worker("all", slots=2)
    driver.worker("picky", slots=4, types=("t",))

    driver.submit("a", "b", "c")

    assert (len(driver.held("all")), len(driver.held("picky"))) == (1, 2)


def test_tasks_that_nobody_serves_do_not_block_those_behind_them(driver):
    driver.submit("a", type="unserved", priority=9)
    driver.worker(types=("t",))

    driver.submit("b")

    assert driver.held() == ["b"]


def test_a_batch_for_several_workers_reaches_each(driver):
    driver.worker("x", types=("x",))
    driver.worker("y", types=("y",))

    tasks = [NewTask.of(f"{each}{n}", each, b"", "json") for n in (1, 2) for each in "xyz"]
    driver.do(Submit(tuple(tasks)))

    assert (driver.held("x"), driver.held("y")) == (["x1"], ["y1"])


def test_a_cancelled_task_is_never_given(driver):
    driver.submit("a", "b")
    driver.do(Cancel("a"))
    driver.worker()

    assert driver.work_off() == ["b"]


def test_an_expired_task_is_dropped_rather_than_given(driver):
    driver.submit("a", ttl_ms=100)
    driver.submit("b")
    driver.register()
    driver.wall_ms += 100

    driver.do(Offer("w", 1, 1, is_standing=True))

    assert driver.kinds() == ["expired", "leased"]
    assert driver.held() == ["b"]


def test_more_expired_tasks_than_fit_one_command_are_left_to_the_next(driver):
    for batch in range(2):
        driver.submit(*(f"{batch}-{n}" for n in range(1_000)), ttl_ms=100)
    driver.submit("a")
    driver.register()
    driver.wall_ms += 100
    held = []
    driver.do(Offer("w", 1, 1, is_standing=True))
    for _ in range(2):
        held.append(driver.held())
        driver.after(0)

    assert held == [[], ["a"]]


def test_what_a_match_left_is_due_at_once(driver):
    for batch in range(2):
        driver.submit(*(f"{batch}-{n}" for n in range(1_000)), ttl_ms=100)
    driver.register()
    driver.wall_ms += 100
    driver.do(Offer("w", 1, 1, is_standing=True))

    assert driver.machine.next_deadline().cluster_ms == 0


def test_more_expired_tasks_of_two_types_than_fit_are_left_to_the_next(driver):
    driver.worker("v", types=("t0",))
    driver.worker("w", types=("t1",))
    for kind in ("t0", "t1"):
        driver.submit(f"{kind}-runs", type=kind, timeout_ms=100)
        driver.submit(*(f"{kind}-{n}" for n in range(1_000)), type=kind, ttl_ms=100)
        driver.submit(f"{kind}-fresh", type=kind)

    driver.after(100)  # Both workers have room again, and everything before the fresh has expired.
    first = driver.held("v") + driver.held("w")
    driver.after(0)
    driver.after(0)

    assert (first, driver.held("v"), driver.held("w")) == ([], ["t0-fresh"], ["t1-fresh"])


def test_a_low_priority_goes_before_a_higher_one_that_came_long_after(driver):
    driver.submit("low", priority=3)
    driver.cluster_ms += AGEING_MS - 1
    driver.submit("normal in time", priority=4)
    driver.cluster_ms += 2
    driver.submit("normal too late", priority=4)
    driver.cluster_ms += AGEING_MS - 2
    driver.submit("high in time", priority=5)
    driver.worker()

    assert driver.work_off() == ["high in time", "normal in time", "low", "normal too late"]


def test_no_place_and_priority_have_the_turn_of_others():
    state = State(lease_ms=1, heartbeat_ms=1)
    places = [0]
    for ms in (0, 0, AGEING_MS, AGEING_MS, 2 * AGEING_MS):
        state.now.cluster_ms = ms
        places.append(next_turn(state))

    turns = [turn_of(place, priority) for place in places for priority in range(PRIORITY_MAX + 1)]

    assert places == sorted(set(places))
    assert len(set(turns)) == len(turns)


@pytest.mark.parametrize(("ms", "first"), [(299_999, "higher"), (300_001, "lower")])
def test_a_priority_is_worth_five_minutes_of_waiting(driver, ms, first):
    driver.submit("lower", priority=4)
    driver.after(ms)
    driver.submit("higher", priority=5)

    driver.worker()

    assert driver.held() == [first]
