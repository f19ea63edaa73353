"""Shrinking: what is left still fails, and little is left."""

from __future__ import annotations

from dataclasses import replace

from chaos.simulation.faults import Fault
from chaos.simulation.plan import Plan, draw
from chaos.simulation.shrinking import shrink


def plan_with(*kinds: str) -> Plan:
    faults = tuple(Fault(float(at), kind) for at, kind in enumerate(kinds, start=1))
    return replace(draw(1), faults=faults, seconds=20.0)


def kinds(plan: Plan) -> list[str]:
    return [fault.kind for fault in plan.faults]


def test_only_the_faults_that_matter_are_left() -> None:
    plan = plan_with("kill", "heal", "ring", "heal", "pause", "skew", "kill", "heal", "ring")

    found = shrink(plan, lambda candidate: {"pause", "skew"} <= set(kinds(candidate)))

    assert kinds(found) == ["pause", "skew"]


def test_it_gives_up_after_so_many_tries() -> None:
    runs = 0

    def fails(_candidate: Plan) -> bool:
        nonlocal runs
        runs += 1
        return False

    shrink(plan_with(*["kill"] * 50), fails, tries=7)

    assert runs == 7


def test_a_failure_without_any_fault_is_shrunk_to_none() -> None:
    found = shrink(plan_with("kill", "ring", "heal"), lambda _candidate: True)

    assert found.faults == ()
