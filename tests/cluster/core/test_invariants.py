"""The check of all invariants, doubted: each planted fault is found, by its own sentence."""

from dataclasses import replace

import pytest

from cluster.core import ring
from cluster.core.commands import Offer
from cluster.core.crews import Crew, Node
from cluster.core.invariants import check
from cluster.core.model import Run, SharedKind, TaskStatus, Worker, WorkerStatus
from cluster.core.ordered import Ordered
from cluster.core.ready import Market, by_turn, turn_of
from cluster.core.ring import START


@pytest.fixture
def state(driver):
    """A running, a waiting, a retrying, a dead and an unserved task; two workers, one lost."""
    driver.register("gone")
    driver.after(15_000)
    driver.worker("w", slots=2)
    driver.submit("fails", max_attempts=1)
    driver.fail("fails")
    driver.submit("retries")
    driver.fail("retries")
    driver.submit("runs", timeout_ms=500)
    driver.do(Offer("w", 2, 1, is_standing=True))
    driver.submit("waits", ttl_ms=900)
    driver.submit("behind")
    driver.submit("unserved", type="x", queue="y")
    return driver.machine.state


def task(state, task_id):
    return state.spaces["default"].tasks[task_id]


def worker(state, worker_id="w"):
    return state.spaces["default"].workers[worker_id]


def give_run(state, **fields):
    task(state, "waits").run = Run(**fields)


def seated(number):
    words = ("", "", "", (), (), (), 0, "", WorkerStatus.ACTIVE)
    return Worker(*words, 0, 0, 0, {}, number=number, seat=(0, 0, number))


def copied(kind):
    other = SharedKind(kind.plain, kind.space, kind.home)
    other.tasks = kind.tasks
    return other


def lane(state):
    return state.ready.lane_of(task(state, "waits"))


def crew(state):
    return state.crews.of_worker[worker(state).number]


def page(state):
    (only,) = state.spaces["default"].listing.pages()
    return only


def keep_many(state):
    state.ring.extend([state.ring.after(START, 1)[0]] * 3)
    state.ring.bytes_used += ring.BYTES_MAX


FAULTS = {
    "7 bytes are counted": lambda s: setattr(s, "bytes_used", 7),
    "the kinds are not the tasks'": lambda s: setattr(task(s, "waits").kind, "tasks", 9),
    "waits has a copy of its kind": lambda s: setattr(
        task(s, "waits"), "kind", copied(task(s, "waits").kind)
    ),
    "the kind of task waits leads elsewhere": lambda s: setattr(
        task(s, "waits").kind, "level", Ordered(by_turn)
    ),
    "9 tasks are counted at its moment": lambda s: setattr(task(s, "waits").created, "tasks", 9),
    "the timeline of task runs has 64 entries": lambda s: setattr(
        task(s, "runs").run, "timeline", (0, *task(s, "runs").run.timeline[1:] * 64)
    ),
    "the timeline of task runs is not in order": lambda s: setattr(s.now, "index", 1),
    "the timeline of task runs, pending, ends with leased": lambda s: setattr(
        task(s, "runs"), "status", TaskStatus.PENDING
    ),
    "bytes are kept": keep_many,
    "the events kept are counted as 7 bytes": lambda s: setattr(s.ring, "bytes_used", 7),
    "the events kept are not in order": lambda s: setattr(s.ring, "dropped", s.ring.newest),
    "is kept, 10 is the newest": lambda s: setattr(s.now, "index", 10),
    "0 tasks counted as failed, 1 there": lambda s: s.spaces["default"].tally.by_status.update(
        {TaskStatus.FAILED: 0}
    ),
    "7 tasks submitted and not removed, 6 there": lambda s: setattr(
        s.spaces["default"].tally, "submitted_ever", 7
    ),
    "7 workers counted as active, 1 there": lambda s: setattr(
        s.spaces["default"].tally, "workers_active", 7
    ),
    "the roster is not the workers": lambda s: s.spaces["default"].roster.remove(worker(s)),
    "the listing is not the tasks": lambda s: s.spaces["default"].listing.remove(task(s, "waits")),
    "page 0 of the listing counts other tasks": lambda s: page(s).types.update(t=1),
    "page 0 of the listing counts other": lambda s: page(s).queues.update(default=1),
    "page 0 of the listing counts": lambda s: page(s).statuses.clear(),
    "page 7 of the listing has a task of another": lambda s: setattr(page(s), "number", 7),
    "is kept as other": lambda s: s.spaces["default"].tasks.__setitem__("other", task(s, "waits")),
    "waits is pending and finished at 1": lambda s: give_run(s, finished_at_ms=1),
    "waits is pending and retries at 1": lambda s: give_run(s, retry_at_ms=1),
    "waits has token 99 of 3 given": lambda s: give_run(s, lease_token=99),
    "runs is processing and has a late token": lambda s: setattr(
        task(s, "runs").run, "late_token", 3
    ),
    "late token 2 is not the newest": lambda s: give_run(s, late_token=2),
    "was killed 4 times": lambda s: give_run(s, killed=4),
    "1 attempts of 0 deliveries": lambda s: give_run(s, attempts=1),
    "waits has a result without": lambda s: give_run(s, result=b"r"),
    "waits has progress without": lambda s: give_run(s, progress_content_type="json"),
    "holds 1 tasks in 0 slots": lambda s: setattr(worker(s), "slots", 0),
    "gone is lost and has room for 1": lambda s: setattr(worker(s, "gone"), "room", 1),
    "w has room for 5 with 1 slots free": lambda s: setattr(worker(s), "room", 5),
    "w has room for 0, its offer allows 1": lambda s: setattr(worker(s), "asked", 2),
    "lease 3 was given for runs and for runs": lambda s: worker(s, "gone").leases.update(
        {3: "runs"}
    ),
    "holds lease 9 on nothing": lambda s: worker(s).leases.update({9: "nothing"}),
    "runs under lease 3, which no worker holds": lambda s: worker(s).leases.clear(),
    "cannot be found": lambda s: s.ready.by_queue.pop(("default", "y")),
    "stands for nothing": lambda s: s.ready.markets.update(
        {("a", "b", ()): Market(("a", "b", ()), is_paused=False)}
    ),
    "still found by its queue": lambda s: s.ready.by_queue["default", "y"].append(None),
    "waits waits in 0 lanes": lambda s: lane(s).tasks.remove(lane(s).tasks.first),
    "waits has place 99 of ": lambda s: setattr(task(s, "waits"), "turn", turn_of(99, 4)),
    "two tasks wait for the same turn": lambda s: setattr(
        task(s, "waits"), "turn", task(s, "unserved").turn
    ),
    "its heads are not its lanes": lambda s: lane(s).market.heads.remove(lane(s)),
    "is not in order of turns": lambda s: setattr(task(s, "waits"), "turn", 0),
    "its turn is not its first task's": lambda s: setattr(lane(s), "turn", 5),
    "waits waits where it does not belong": lambda s: setattr(
        task(s, "waits"), "kind", task(s, "unserved").kind
    ),
    "is failed and waits in a lane": lambda s: setattr(
        task(s, "waits"), "status", TaskStatus.FAILED
    ),
    "is draining, and in a crew or not": lambda s: setattr(
        worker(s), "status", WorkerStatus.DRAINING
    ),
    "has room for 1 and another seat": lambda s: setattr(worker(s), "room", 1),
    "counts 5 members, 1 there": lambda s: setattr(crew(s), "members", 5),
    "its members with room are not in order": lambda s: crew(s).available.add(seated(77)),
    "attends other markets than it serves": lambda s: crew(s).markets.clear(),
    "is not known where it attends": lambda s: crew(s).markets[0].crews.clear(),
    "counts 0 members, 0 there": lambda s: s.crews.by_profile.update(
        {("a", (), (), (), "n"): Crew(("a", (), (), (), "n"), Node("n"))}
    ),
    "is not of its node": lambda s: setattr(crew(s), "node", Node("n1")),
    "node n1 does not know its crews": lambda s: s.crews.nodes["n1"].crews.clear(),
    "waits, and worker w has room": lambda s: s.crews.seat(worker(s), 1) or s.crews.fresh.clear(),
    "waits has timer 7 instead of": lambda s: setattr(task(s, "waits"), "timer", 7),
    "the timers are not the tasks'": lambda s: s.timers.remove(s.timers.first),
    "the timeouts are not the running tasks'": lambda s: s.timeouts.remove(s.timeouts.first),
    "the sessions are not the workers": lambda s: s.sessions.clear(),
    "not in order of their deadlines": lambda s: s.sessions.update(
        {99: replace(worker(s), deadline_ms=0)}
    ),
    "gone is active and remembered as lost": lambda s: setattr(
        worker(s, "gone"), "status", WorkerStatus.ACTIVE
    ),
    "1001 lost workers are remembered": lambda s: s.lost.update(
        {-n: worker(s, "gone") for n in range(1_000)}
    ),
}


def test_a_sound_state_breaks_nothing(driver, state):
    assert state is driver.machine.state
    assert check(driver.machine) == []


@pytest.mark.parametrize("sentence", FAULTS)
def test_a_planted_fault_is_found(driver, state, sentence):
    FAULTS[sentence](state)

    assert any(sentence in found for found in check(driver.machine)), check(driver.machine)
