"""Workers' sessions: offers, heartbeats, leaving, being lost."""

from cluster.core.commands import (
    BeginTerm,
    Cancel,
    Drain,
    Draining,
    Heartbeat,
    Leave,
    Left,
    Offer,
    Offered,
    Refusal,
    Registered,
    Renewed,
)
from cluster.core.queries import Count

LEASE_MS = 15_000
HEARTBEAT_MS = 5_000
HOUR_MS = 3_600_000


def poll(driver, epoch, slots, worker_id="w"):
    return driver.do(Offer(worker_id, epoch, slots, is_standing=False))


def ids(reply):
    return [lease.task_id for lease in reply.leases]


# Registering.


def test_a_registered_worker_is_given_nothing_before_it_offers(driver):
    driver.register()

    driver.submit("a")

    assert driver.held() == []


def test_registering_again_changes_nothing(driver):
    driver.register(slots=1)

    reply = driver.register(slots=9)

    assert (reply, driver.session().slots, driver.kinds()) == (Registered("w"), 1, [])


def test_a_lost_worker_cannot_register_under_its_old_id(driver):
    driver.register()
    driver.after(LEASE_MS)

    reply = driver.register()

    assert reply.refusal is Refusal.WORKER_LOST
    assert "worker w was lost" in reply.detail


def test_a_worker_has_a_thousand_slots_at_most(driver):
    driver.register(slots=5_000)

    assert driver.session().slots == 1_000


def test_a_worker_without_slots_is_given_nothing(driver):
    driver.worker(slots=0)

    driver.submit("a")

    assert driver.held() == []


# Offers.


def test_an_unknown_worker_cannot_offer(driver):
    reply = poll(driver, 1, 1)

    assert reply.refusal is Refusal.WORKER_UNKNOWN
    assert "worker w is not known" in reply.detail


def test_a_poll_asks_for_so_many_more_tasks_once(driver):
    driver.register(slots=4)
    driver.submit("a", "b", "c")

    first = ids(poll(driver, 1, 1))
    driver.complete("a")
    second = ids(poll(driver, 2, 1))

    assert (first, second, driver.held()) == (["a"], ["b"], ["b"])


def test_a_poll_never_fills_more_than_the_registered_slots(driver):
    driver.register(slots=2)
    driver.submit("a", "b", "c")
    poll(driver, 1, 1)

    assert ids(poll(driver, 2, 9)) == ["b"]


def test_a_poll_is_served_when_a_task_comes_later(driver):
    driver.register()
    poll(driver, 1, 1)

    driver.submit("a")

    assert driver.held() == ["a"]


def test_a_withdrawn_poll_is_given_nothing(driver):
    driver.register()
    poll(driver, 1, 1)
    poll(driver, 2, 0)

    driver.submit("a")

    assert driver.held() == []


def test_a_repeated_poll_gives_the_same_leases(driver):
    driver.register(slots=4)
    driver.submit("a", "b", "c")
    first = poll(driver, 1, 2)

    assert poll(driver, 1, 2) == first


def test_a_repeated_poll_names_only_leases_that_still_stand(driver):
    driver.register(slots=4)
    driver.submit("a", "b")
    poll(driver, 1, 2)
    driver.complete("a")

    assert ids(poll(driver, 1, 2)) == ["b"]


def test_a_late_offer_of_an_old_epoch_changes_nothing(driver):
    driver.register(slots=4)
    poll(driver, 2, 0)

    reply = poll(driver, 1, 4)
    driver.submit("a")

    assert (reply, driver.held()) == (Offered(()), [])


def test_the_first_epoch_may_be_zero(driver):
    driver.register()
    driver.submit("a")

    assert ids(poll(driver, 0, 1)) == ["a"]


def test_a_standing_offer_counts_what_is_held(driver):
    driver.worker(slots=4)
    driver.submit("a", "b", "c", "d")
    driver.do(Offer("w", 2, 3, is_standing=True))
    driver.submit("e", "f")
    driver.complete("a")
    driver.complete("b")

    assert driver.held() == ["c", "d", "e"]


def test_a_lease_tells_the_worker_all_that_it_needs(driver):
    driver.submit("a", priority=7, timeout_ms=9, meta=(("k", "v"),), traceparent="00-1")
    driver.worker()

    (lease,) = driver.leases()

    assert tuple(lease) == (
        *("a", 1, "t", "default", b"{}", "json", 1, 9),
        *((("k", "v"),), "00-1", 7, False),
    )


# Heartbeats.


def test_heartbeats_keep_a_session(driver):
    driver.register()
    for _ in range(3):
        driver.after(LEASE_MS - 1)
        driver.heartbeat()

    assert driver.session().status == "active"


def test_a_heartbeat_of_an_unknown_worker_is_refused(driver):
    assert driver.heartbeat().refusal is Refusal.WORKER_UNKNOWN


def test_a_heartbeat_says_from_which_node_it_came(driver):
    driver.register()
    driver.do(Heartbeat("w", (), "n2"))

    assert driver.session().node == "n2"


def test_a_heartbeat_is_told_which_tokens_are_lost(driver):
    driver.worker()
    driver.submit("a")

    assert driver.heartbeat("w", 1, 77) == Renewed(cancel=(), lost=(77,), drain=False)


def test_a_heartbeat_is_told_what_to_cancel(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Cancel("a"))

    assert driver.heartbeat("w", 1).cancel == ("a",)


def test_a_lease_that_is_not_named_goes_back_after_a_heartbeat(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Offer("w", 2, 0, is_standing=True))
    driver.after(HEARTBEAT_MS)

    driver.heartbeat()

    task = driver.task("a")
    assert (task.status, task.attempts, task.deliveries) == ("pending", 0, 1)
    assert driver.events[0].error == "not delivered"


def test_a_younger_lease_may_still_be_on_its_way(driver):
    driver.worker()
    driver.submit("a")
    driver.after(HEARTBEAT_MS - 1)

    driver.heartbeat()

    assert driver.held() == ["a"]


def test_a_token_that_was_not_delivered_is_dead(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Offer("w", 2, 0, is_standing=True))
    driver.after(HEARTBEAT_MS)
    driver.heartbeat()

    reply = driver.complete("a", 1)

    assert reply.detail == "lease 1 on task a has ended: the task is pending"


def test_what_was_not_delivered_keeps_its_place(driver):
    driver.worker()
    driver.submit("a", "b")
    driver.after(HEARTBEAT_MS)

    driver.heartbeat()

    assert driver.held() == ["a"]


def test_a_task_to_be_cancelled_that_was_not_delivered_is_cancelled(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Cancel("a"))
    driver.after(HEARTBEAT_MS)

    driver.heartbeat()

    assert driver.kinds() == ["cancelled"]


# Draining and leaving.


def test_a_draining_worker_keeps_what_it_holds_and_is_given_nothing(driver):
    driver.worker(slots=2)
    driver.submit("a")

    reply = driver.do(Drain("w"))
    driver.submit("b")

    assert (reply, driver.held()) == (Draining(("a",)), ["a"])


def test_a_draining_worker_may_complete_and_is_given_nothing(driver):
    driver.worker()
    driver.submit("a", "b")
    driver.do(Drain("w"))

    driver.complete("a")

    assert (driver.status("a"), driver.held()) == ("completed", [])


def test_draining_twice_is_draining_once(driver):
    driver.register()
    driver.do(Drain("w"))

    driver.do(Drain("w"))

    assert driver.kinds() == []


def test_an_unknown_worker_cannot_drain(driver):
    assert driver.do(Drain("w")).refusal is Refusal.WORKER_UNKNOWN


def test_a_draining_worker_offers_in_vain(driver):
    driver.register()
    driver.do(Drain("w"))
    driver.submit("a")

    assert poll(driver, 1, 1) == Offered(())


def test_a_heartbeat_is_told_to_drain(driver):
    driver.register()
    driver.do(Drain("w"))

    assert driver.heartbeat().drain


def test_a_leaving_worker_hands_its_tasks_back_in_their_places(driver):
    driver.worker(slots=2)
    driver.submit("a", "b", "c")

    reply = driver.do(Leave("w"))
    driver.worker("v")

    assert reply == Left(("a", "b"))
    assert driver.work_off("v") == ["a", "b", "c"]


def test_leaving_is_no_attempt(driver):
    driver.worker()
    driver.submit("a")

    driver.do(Leave("w"))

    assert (driver.task("a").attempts, driver.kinds()) == (0, ["worker_left", "released"])


def test_a_worker_that_left_is_not_known(driver):
    driver.register()
    driver.do(Leave("w"))

    assert driver.session() is None
    assert driver.do(Leave("w")).refusal is Refusal.WORKER_UNKNOWN


def test_a_draining_worker_may_leave(driver):
    driver.register()
    driver.do(Drain("w"))

    assert driver.do(Leave("w")) == Left(())


# Being lost.


def test_a_silent_worker_is_lost_at_its_deadline(driver):
    driver.register()
    driver.after(LEASE_MS - 1)
    before = driver.session().status
    driver.after(1)

    assert (before, driver.session().status) == ("active", "lost")


def test_a_draining_worker_is_lost_as_well(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Drain("w"))

    driver.after(LEASE_MS)

    assert (driver.session().status, driver.status("a")) == ("lost", "pending")


def test_any_entry_notices_that_a_worker_fell_silent(driver):
    driver.register()
    driver.cluster_ms += LEASE_MS

    driver.submit("a")

    assert driver.session().status == "lost"


def test_a_heartbeat_in_the_entry_at_the_deadline_still_counts(driver):
    driver.register()
    driver.cluster_ms += LEASE_MS

    driver.heartbeat()

    assert driver.session().status == "active"


def test_a_lost_workers_tasks_go_back_to_their_places(driver):
    driver.worker(slots=2)
    driver.submit("a", "b", "c")
    driver.after(LEASE_MS)
    driver.worker("v")

    assert driver.work_off("v") == ["a", "b", "c"]


def test_a_lost_worker_costs_no_attempt(driver):
    driver.worker()
    driver.submit("a")
    driver.after(LEASE_MS)

    task = driver.task("a")
    assert (task.attempts, task.deliveries, task.worker_id) == (0, 1, None)


def test_a_lost_worker_is_refused(driver):
    driver.register()
    driver.after(LEASE_MS)

    assert driver.heartbeat().refusal is Refusal.WORKER_LOST


def test_a_lost_workers_token_is_good_until_the_task_is_leased_anew(driver):
    driver.worker()
    driver.submit("a")
    driver.after(LEASE_MS)

    reply = driver.complete("a", 1)

    assert (reply.status, driver.task("a").result) == ("completed", b"r")


def test_a_lost_workers_token_is_dead_once_the_task_is_leased_anew(driver):
    driver.worker()
    driver.submit("a")
    driver.after(LEASE_MS)
    driver.worker("v")

    reply = driver.complete("a", 1)

    assert reply.refusal is Refusal.LEASE_LOST
    assert reply.detail == "lease 1 on task a was superseded by lease 2"


def test_a_lost_worker_may_still_report_its_failure(driver):
    driver.worker()
    driver.submit("a")
    driver.after(LEASE_MS)

    driver.fail("a", 1)

    assert (driver.status("a"), driver.task("a").attempts) == ("retrying", 1)


def test_a_task_that_took_three_workers_with_it_is_a_dead_letter(driver):
    driver.submit("a")
    for worker_id in ("u", "v", "w"):
        driver.worker(worker_id)
        driver.after(LEASE_MS)

    task = driver.task("a")
    assert (task.status, task.attempts) == ("failed", 0)
    assert task.error == "its worker was lost 3 times in a row"


def test_losses_count_only_in_a_row(driver):
    driver.submit("a")
    for worker_id in ("u", "v"):
        driver.worker(worker_id)
        driver.after(LEASE_MS)
    driver.worker("w")
    driver.fail("a")
    driver.do(Leave("w"))
    driver.after(10_000)
    driver.worker("x")
    driver.after(LEASE_MS)

    assert driver.status("a") == "pending"


def test_a_task_to_be_cancelled_whose_worker_is_lost_is_cancelled(driver):
    driver.worker()
    driver.submit("a")
    driver.do(Cancel("a"))

    driver.after(LEASE_MS)

    assert driver.status("a") == "cancelled"


def test_ten_thousand_leases_due_at_once_go_back_a_thousand_an_entry(driver):
    for n in range(3):
        driver.worker(f"w{n}", slots=1_000)
        driver.submit(*(f"{n}-{m}" for m in range(1_000)))
    pending = []
    driver.cluster_ms += LEASE_MS
    for _ in range(5):
        driver.after(0)
        pending.append(driver.machine.answer(Count()).by_status[2][1])

    assert pending == [999, 1_997, 2_995, 3_000, 3_000]


def test_what_was_left_to_do_is_due_at_once(driver):
    driver.worker(slots=1_000)
    driver.submit(*(str(n) for n in range(1_000)))
    driver.after(LEASE_MS)

    assert driver.machine.next_deadline().cluster_ms == LEASE_MS


def test_a_worker_that_is_being_lost_is_refused_and_its_token_is_not(driver):
    driver.worker(slots=1_000)
    driver.submit(*(str(n) for n in range(1_000)))
    driver.after(LEASE_MS)

    assert driver.status("999") == "processing"
    assert driver.heartbeat().refusal is Refusal.WORKER_LOST
    assert driver.complete("999").status == "completed"


def test_a_lost_worker_is_listed_for_an_hour(driver):
    driver.register()
    driver.after(LEASE_MS)
    driver.after(HOUR_MS - 1)
    before = driver.session()
    driver.after(1)

    assert (before.status, driver.session()) == ("lost", None)


def test_of_many_lost_workers_the_newest_thousand_are_remembered(driver):
    for n in range(1_001):
        driver.register(str(n))
    driver.after(LEASE_MS)
    driver.after(0)
    driver.after(0)

    assert driver.session("0") is None
    assert driver.session("1").status == "lost"


# Terms.


def test_a_new_term_gives_every_session_a_whole_lease(driver):
    driver.register()
    driver.after(LEASE_MS - 1)
    driver.do(BeginTerm("n2"))
    driver.after(LEASE_MS - 1)
    before = driver.session().status
    driver.after(1)

    assert (before, driver.session().status) == ("active", "lost")


def test_a_new_term_in_the_entry_at_the_deadline_saves_the_session(driver):
    driver.register()
    driver.cluster_ms += LEASE_MS

    driver.do(BeginTerm("n2"))

    assert driver.session().status == "active"


def test_a_new_term_says_who_leads(driver):
    driver.do(BeginTerm("n2"))

    (event,) = driver.events
    assert (event.kind, event.node, event.term) == ("leader_changed", "n2", 1)


def test_a_new_term_brings_its_leaders_lengths(driver):
    driver.do(BeginTerm("n2", lease_ms=100, heartbeat_ms=10))
    driver.worker()
    driver.submit("a")
    driver.do(Offer("w", 2, 0, is_standing=True))
    driver.after(LEASE_MS)  # The grace is the longer of the two.
    driver.heartbeat()
    driver.after(100)

    assert (driver.status("a"), driver.session().status) == ("pending", "lost")


def test_a_shorter_lease_leaves_the_deadlines_in_order(driver):
    driver.do(BeginTerm("n1", lease_ms=60_000))
    driver.register("v")
    driver.do(BeginTerm("n2", lease_ms=1_000))
    driver.do(BeginTerm("n3"))
    driver.register("w")
    driver.after(60_000)

    assert (driver.session("v").status, driver.session("w").status) == ("lost", "lost")


def test_a_leaders_memory_bound_stays_until_another_says_otherwise(driver):
    driver.do(BeginTerm("n1", memory_bytes_max=1_000_000))
    driver.do(BeginTerm("n2"))

    assert driver.machine.state.memory_bytes_max == 1_000_000
