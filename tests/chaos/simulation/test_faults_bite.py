"""Crash points, changes of members and of the leader do happen, and are counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from chaos.simulation.crashes import points
from chaos.simulation.faults import LEADER, Fault
from chaos.simulation.history import Outcome
from chaos.simulation.membership import judge_orders
from chaos.simulation.operating import Order
from chaos.simulation.plan import draw
from chaos.simulation.simulation import Report, Simulation, Verdict
from chaos.simulation.verdict import replay
from cluster.core.commands import BeginTerm, Draining, Left
from cluster.core.queue_commands import Removed, Started, Steered

SECONDS = 12.0
NODES = ("node1", "node2", "node3")


def carried_out(*faults: Fault, nodes: int = 3, **settings: Any) -> tuple[Simulation, Report]:
    """A calm run but for *faults*."""
    plan = replace(draw(1, nodes=nodes), seconds=SECONDS, faults=faults, payload_bytes=16)
    simulation = Simulation(replace(plan, **settings))
    report = simulation.run_quietly()
    assert report.verdict is Verdict.HELD, [str(each) for each in report.violations]
    return simulation, report


@pytest.mark.parametrize("how", ["kill", "cut_power"])
def test_a_node_dies_at_its_crash_point_and_comes_back(how: str) -> None:
    simulation, report = carried_out(
        Fault(3.0, "crash", ("node2", "log.after_sync", 3, 0.5, how)),
    )

    assert report.happened["crash at log.after_sync"] == 1
    assert [node.starts for node in simulation.cluster.nodes] == [1, 2, 1]


def test_a_node_dies_while_its_cluster_forms() -> None:
    _, report = carried_out(
        Fault(0.0, "crash", ("node1", "identity.after_written", 1, 0.1, "kill"))
    )

    assert report.happened["crash at identity.after_written"] == 1


def test_nobody_dies_once_all_is_healed() -> None:
    simulation, report = carried_out(
        Fault(3.0, "crash", ("node2", "driver.before_tick", 1_000_000, 0.5, "kill")),
    )

    assert not [name for name in report.happened if name.startswith("crash")]
    assert [node.starts for node in simulation.cluster.nodes] == [1, 1, 1]


def test_the_points_that_are_drawn_are_read_from_the_source() -> None:
    assert len(points()) > 40
    assert {"log.after_sync", "storage.before_sync", "snapshot.before_install"} <= {*points()}


def test_a_fresh_machine_becomes_a_member() -> None:
    simulation, report = carried_out(Fault(3.0, "add_member"))

    assert report.happened["members added"] == 1
    assert simulation.cluster.members == {"node1", "node2", "node3", "node4"}
    assert simulation.cluster.nodes[-1].replica is not None


@pytest.mark.parametrize("whom", ["node1", "node2", "node3", LEADER])
def test_a_member_leaves_for_good(whom: str) -> None:
    simulation, report = carried_out(Fault(3.0, "remove_member", (whom,)))

    assert report.happened["members removed"] == 1
    assert len(simulation.cluster.members) == 2
    assert simulation.cluster.members.isdisjoint(simulation.cluster.retired)


def test_a_lost_machine_is_replaced() -> None:
    simulation, report = carried_out(Fault(3.0, "replace_member", (LEADER,)))

    assert report.happened["members added"] == report.happened["members removed"] == 1
    assert "node4" in simulation.cluster.members
    assert len(simulation.cluster.members) == 3


def test_leadership_goes_where_it_is_asked_to() -> None:
    names = ("node1", "node2", "node3")
    faults = [Fault(3.0 + 2.0 * n, "change_leader", (name,)) for n, name in enumerate(names)]
    simulation, report = carried_out(*faults)

    assert report.happened["hand-overs"] >= 2
    assert simulation.cluster.leader.name == "node3"


def test_who_lacks_much_is_sent_a_snapshot() -> None:
    _, report = carried_out(
        Fault(2.0, "kill", ("node3",)),
        Fault(10.0, "start_all"),
        snapshot_bytes=1_000,
        segment_bytes=1_000,
        tail_entries=5,
    )

    assert report.happened["snapshots taken"] > 0
    assert report.happened["snapshots installed"] > 0


@pytest.mark.parametrize(
    ("outcome", "times", "is_broken"),
    [
        (Outcome.OK, 1, False),
        (Outcome.OK, 0, True),
        (Outcome.OK, 2, True),
        (Outcome.FAIL, 0, False),
        (Outcome.FAIL, 1, True),
        (Outcome.INFO, 0, False),
        (Outcome.INFO, 1, False),
        (Outcome.INFO, 2, True),
    ],
)
def test_a_change_is_what_the_operator_was_told(
    outcome: Outcome, times: int, *, is_broken: bool
) -> None:
    changes = Counter({("add", "node4"): times})

    found = list(judge_orders(changes, [Order("add", "node4", outcome)]))

    assert bool(found) is is_broken


def test_a_silent_nodes_workers_are_passed_over_until_it_is_heard_again() -> None:
    simulation, _ = carried_out(
        *(
            Fault(at, "isolate", (f"node{number}",))
            for number, at in ((1, 2.5), (2, 5.0), (3, 7.5))
        ),
        *(Fault(at, "heal", ("isolate",)) for at in (4.3, 6.8, 9.3)),
        workers=4,
        lease_seconds=15.0,
    )

    assert kinds_of_events(simulation) >= {"node_suspended", "node_resumed"}


def test_a_hand_over_to_a_frozen_node_costs_a_moment_and_no_write() -> None:
    simulation, _ = carried_out(
        Fault(2.0, "change_leader", ("node1",)),
        Fault(4.0, "pause", ("node3", 2.0)),
        *(Fault(at, "change_leader", ("node3",)) for at in (4.1, 4.7, 5.3)),
        submitters=3,
        pause_seconds=0.1,
    )

    begun = [
        (simulation.judge.ledger[index].term, command.node)
        for index, answered in replay(simulation.judge.ledger, []).answered.items()
        for command, _ in answered
        if isinstance(command, BeginTerm)
    ]
    assert len(set(begun)) == len(begun)
    assert [
        each
        for each in simulation.history.attempts
        if each.node != "node3" and 4.0 < each.invoked < 6.0 and each.outcome is not Outcome.OK
    ] == []


def test_stewards_steer_all_that_can_be_steered() -> None:
    simulation, _ = carried_out(workers=3, stewards=2, submitters=2, pause_seconds=0.1)

    answered = {
        type(attempt.value)
        for attempt in simulation.history.attempts
        if attempt.outcome is Outcome.OK
    }
    assert answered >= {Steered, Started, Removed, Draining, Left}
    assert kinds_of_events(simulation) >= {"queue_paused", "queue_resumed", "removed"}


def kinds_of_events(simulation: Simulation) -> set[str]:
    return {str(event.kind) for event in replay(simulation.judge.ledger, []).events}
