"""Workers of a node that the leader does not hear: passed over, and otherwise left alone."""

from __future__ import annotations

import pytest

from cluster import codec
from cluster.core import matching
from cluster.core.commands import (
    Complete,
    Drain,
    Heartbeat,
    Noted,
    Offer,
    RaiseVersion,
    Register,
    Resume,
    Suspend,
)
from cluster.core.model import TaskStatus
from tests.cluster.core.conftest import Driver


@pytest.fixture
def machine() -> Driver:
    return Driver()


def join(driver: Driver, worker_id: str, node: str, *, slots: int = 1, tag: str = "") -> None:
    tags = (tag,) if tag else ()
    driver.do(Register(worker_id, worker_id, ("default",), (), tags, slots, node))
    driver.do(Offer(worker_id, 1, slots, is_standing=True))


def kinds(driver: Driver) -> list[str]:
    return [event.kind for event in driver.events]


def test_a_suspended_nodes_workers_are_given_nothing_new(machine: Driver) -> None:
    join(machine, "w1", "node1")

    assert machine.do(Suspend("node1")) == Noted(is_news=True)
    machine.submit("t1")

    assert machine.task("t1").status is TaskStatus.PENDING


def test_a_worker_of_another_node_takes_what_the_suspended_one_would(machine: Driver) -> None:
    join(machine, "w1", "node1", slots=2)
    join(machine, "w2", "node2", slots=1)
    machine.do(Suspend("node1"))

    machine.submit("t1", "t2")

    assert machine.task("t1").worker_id == "w2"
    assert machine.task("t2").status is TaskStatus.PENDING


def test_a_resumed_nodes_workers_are_served_at_once(machine: Driver) -> None:
    join(machine, "w1", "node1")
    machine.do(Suspend("node1"))
    machine.submit("t1")

    assert machine.do(Resume("node1")) == Noted(is_news=True)

    assert kinds(machine) == ["node_resumed", "leased"]
    assert machine.task("t1").worker_id == "w1"


def test_a_suspended_worker_keeps_its_leases_and_settles_them(machine: Driver) -> None:
    join(machine, "w1", "node1")
    machine.submit("t1", "t2")
    machine.do(Suspend("node1"))

    machine.do(Complete("t1", 1, b"42"))

    assert machine.task("t1").status is TaskStatus.COMPLETED
    assert machine.task("t2").status is TaskStatus.PENDING


def test_a_suspended_worker_keeps_its_deadline(machine: Driver) -> None:
    join(machine, "w1", "node1")
    machine.do(Suspend("node1"))

    machine.after(14_999)
    assert "worker_lost" not in kinds(machine)
    machine.after(1)

    assert "worker_lost" in kinds(machine)


def test_a_heartbeat_through_another_node_moves_the_worker_and_is_served_there(
    machine: Driver,
) -> None:
    join(machine, "w1", "node1")
    machine.do(Suspend("node1"))
    machine.submit("t1")

    machine.do(Heartbeat("w1", (), "node2"))

    assert machine.task("t1").worker_id == "w1"
    assert machine.machine.worker_nodes == {"node2": False}


def test_a_draining_worker_moves_with_its_heartbeat_and_is_given_nothing(machine: Driver) -> None:
    join(machine, "w1", "node1")
    machine.do(Drain("w1"))
    machine.submit("t1")

    machine.do(Heartbeat("w1", (), "node2"))

    session = machine.session("w1")
    assert session is not None
    assert session.node == "node2"
    assert machine.status("t1") == "pending"


def test_a_heartbeat_through_the_suspended_node_itself_changes_nothing(machine: Driver) -> None:
    join(machine, "w1", "node1")
    machine.do(Suspend("node1"))
    machine.submit("t1")

    machine.do(Heartbeat("w1", (), "node1"))

    assert machine.task("t1").status is TaskStatus.PENDING


def test_a_suspended_nodes_last_worker_takes_the_suspension_with_it(machine: Driver) -> None:
    join(machine, "w1", "node1")
    machine.do(Suspend("node1"))

    machine.after(15_000)

    assert machine.machine.worker_nodes == {}


@pytest.mark.parametrize("command", [Suspend("node9"), Resume("node9"), Resume("node1")])
def test_what_concerns_nobody_or_holds_already_is_no_news(machine: Driver, command) -> None:
    join(machine, "w1", "node1")

    assert machine.do(command) == Noted(is_news=False)
    assert kinds(machine) == []


def test_a_node_is_suspended_once(machine: Driver) -> None:
    join(machine, "w1", "node1")
    machine.do(Suspend("node1"))

    assert machine.do(Suspend("node1")) == Noted(is_news=False)


def test_a_node_with_many_workers_is_served_a_bounded_number_of_tasks_an_entry(
    machine: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "LEASES_MAX", 2)
    join(machine, "w1", "node1", slots=3)
    join(machine, "w2", "node1", slots=3, tag="gpu")
    machine.do(Suspend("node1"))
    machine.submit(*(f"t{number}" for number in range(6)))

    machine.do(Resume("node1"))
    leased = kinds(machine).count("leased")

    assert leased == 4  # One match after the command, one after the sweep.
    assert machine.machine.next_deadline().cluster_ms == machine.cluster_ms
    machine.after(0)
    assert kinds(machine).count("leased") == 2


def test_a_suspension_travels_in_a_snapshot(machine: Driver) -> None:
    join(machine, "w1", "node1")
    join(machine, "w2", "node2")
    machine.do(Suspend("node1"))
    machine.do(RaiseVersion(3))
    loader = codec.MachineLoader()
    for section in codec.dump_machine(machine.machine):
        loader.feed(section)

    loaded = loader.finish()

    assert loaded.worker_nodes == {"node1": True, "node2": False}
    assert loaded.version == 3


def test_the_machine_version_only_rises(machine: Driver) -> None:
    assert machine.machine.version == 1
    assert machine.do(RaiseVersion(2)) == Noted(is_news=True)
    assert machine.do(RaiseVersion(1)) == Noted(is_news=False)
    assert machine.machine.version == 2
