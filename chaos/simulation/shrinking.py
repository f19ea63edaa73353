"""From a plan that breaks a promise to a smaller one that breaks it still.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002)
over the fault schedule, then over the traffic: leave a part out, keep what still fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from chaos.simulation.faults import Fault
from chaos.simulation.plan import Plan

AFTER_SECONDS = 0.5  # How long a plan goes on after its last fault, at least.


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, tries: int = 200) -> Plan:
    """The smallest plan found within *tries* runs for which *fails* still holds."""
    left = tries

    def still_fails(candidate: Plan) -> bool:
        nonlocal left
        left -= 1
        return fails(candidate)

    parts = 2
    while plan.faults and left > 0 and parts <= 2 * len(plan.faults):
        for candidate in _without_a_part(plan, parts):
            if left > 0 and still_fails(candidate):
                plan, parts = candidate, max(parts - 1, 2)
                break
        else:
            parts *= 2
    for candidate_of in _SIMPLER:
        candidate = candidate_of(plan)
        if left > 0 and candidate != plan and still_fails(candidate):
            plan = candidate
    return plan


def _without_a_part(plan: Plan, parts: int) -> Iterator[Plan]:
    faults = plan.faults
    size = max(1, len(faults) // parts)
    for start in range(0, len(faults), size):
        yield replace(plan, faults=faults[:start] + faults[start + size :])


def _shorter(plan: Plan) -> Plan:
    last = max(fault.at for fault in plan.faults) if plan.faults else 0.0
    return replace(plan, seconds=min(plan.seconds, last + AFTER_SECONDS))


def _earlier(plan: Plan) -> Plan:
    """Let no time pass in which nothing goes wrong."""
    faults: list[Fault] = []
    gained, last = 0.0, 0.0
    for fault in plan.faults:
        gained += max(0.0, fault.at - last - 2.0)
        last = fault.at
        faults.append(fault._replace(at=fault.at - gained))
    return replace(plan, faults=tuple(faults), seconds=plan.seconds - gained)


_SIMPLER: tuple[Callable[[Plan], Plan], ...] = (
    _shorter,
    _earlier,
    lambda plan: replace(plan, readers=0),
    lambda plan: replace(plan, workers=0),
    lambda plan: replace(plan, submitters=1),
    lambda plan: replace(plan, burst=1),
    lambda plan: replace(plan, payload_bytes=16),
    lambda plan: replace(plan, split=0.0),
    lambda plan: replace(plan, pause_seconds=plan.pause_seconds * 4),
)
