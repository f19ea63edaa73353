"""The check of queues, dead letters, operations and keys, doubted: planted faults are found."""

import pytest

from cluster.core import idempotency, operations, pausing, sweeping
from cluster.core.invariants import check
from cluster.core.model import Idempotency, TaskStatus
from cluster.core.queue_commands import PauseQueue, PurgeQueue


@pytest.fixture
def state(driver, monkeypatch):
    """A dead letter, two pending tasks, a paused queue, three operations, two keys."""
    driver.worker()
    driver.submit("dead", max_attempts=1)
    driver.fail("dead")
    driver.submit("runs")
    driver.submit("first", idempotency=Idempotency("k", b"body"))
    driver.do(PauseQueue("paused"))
    driver.do(PurgeQueue("finished", "nothing"))
    driver.after(10)
    driver.do(PurgeQueue("later", "nothing"))
    driver.submit("second", idempotency=Idempotency("l", b"body"))
    monkeypatch.setattr(sweeping, "UNITS_MAX", 0)
    driver.do(PurgeQueue("open", "default"))
    return driver.machine.state


def queues(state):
    return state.spaces["default"].queues


def queue(state):
    return queues(state).by_name["default"]


def dead(state):
    return state.spaces["default"].dead


def task(state, task_id):
    return state.spaces["default"].tasks[task_id]


def operation(state, operation_id):
    return state.operations.find("default", operation_id)


def swap_finished(state):
    state.operations.finished.move_to_end(("default", "finished"))


def unlist(state):
    listed = next(iter(queues(state)))
    queues(state)._listing.remove(listed)


FAULTS = {
    "the queues are not those that have tasks or are paused": lambda s: queues(s).open("empty"),
    "the queues are not listed by name": unlist,
    "default: 2 queues counted as paused, 1 are": lambda s: setattr(queues(s), "paused", 2),
    "queue other is kept as default": lambda s: setattr(queue(s), "name", "other"),
    "queue default: 7 tasks counted as pending, 2 there": lambda s: queue(s).by_status.update(
        {TaskStatus.PENDING: 7}
    ),
    "queue default: 9 tasks counted, 4 there": lambda s: setattr(queue(s), "size", 9),
    "its pending tasks are not those that wait": lambda s: (
        queue(s).level(4).remove(task(s, "first"))
    ),
    "its tasks of priority 4 do not wait in order": lambda s: setattr(
        task(s, "first"), "turn", task(s, "second").turn + 1
    ),
    "its tasks of priority 9 do not wait in order": lambda s: queue(s).pending.update(
        {9: queue(s).pending.pop(4)}
    ),
    "is paused or not, and its queue is otherwise": lambda s: s.ready.set_paused(
        ("default", "default"), is_paused=True
    ),
    "the dead letters are not the failed tasks, in order": lambda s: dead(s).add(task(s, "runs")),
    "2 dead letters counted of default, t; 1 there": lambda s: dead(s)._counts.update(
        {("default", "t"): 2}
    ),
    "default: 2 dead letters counted, 1 there": lambda s: dead(s)._counts.update({(None, None): 2}),
    "operation open is kept as ('a', 'b')": lambda s: s.operations.open.update(
        {("a", "b"): operation(s, "open")}
    ),
    "operation open finished at 5": lambda s: setattr(operation(s, "open"), "finished_ms", 5),
    "operation open did 9 of 2": lambda s: setattr(operation(s, "open"), "done", 9),
    "the operations did not finish in order": swap_finished,
    "an operation is both open and finished": lambda s: s.operations.finished.update(
        {("default", "open"): operation(s, "open")}
    ),
    "the key of task second cannot be found": lambda s: s.keys._by_slot.__delitem__(
        list(s.keys)[1].slot
    ),
    "the keys are not in order of their ends": lambda s: s.keys._in_order.reverse(),
}


def test_a_sound_state_breaks_nothing(driver, state):
    assert state is driver.machine.state
    assert check(driver.machine) == []


@pytest.mark.parametrize("sentence", FAULTS)
def test_a_planted_fault_is_found(driver, state, sentence):
    FAULTS[sentence](state)

    assert any(sentence in found for found in check(driver.machine)), check(driver.machine)


@pytest.mark.parametrize(
    ("module", "name", "sentence"),
    [
        (pausing, "PAUSED_MAX", "1 queues counted as paused, 1 are"),
        (operations, "OPEN_MAX", "1 operations are open, 2 are remembered"),
        (operations, "REMEMBERED_MAX", "1 operations are open, 2 are remembered"),
        (idempotency, "KEYS_MAX", "2 keys are remembered"),
    ],
)
@pytest.mark.usefixtures("state")
def test_more_than_is_allowed_is_found(driver, monkeypatch, module, name, sentence):
    monkeypatch.setattr(module, name, 0)

    assert any(sentence in found for found in check(driver.machine)), check(driver.machine)
