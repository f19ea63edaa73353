"""Tasks of all priorities wait for one worker: which goes first?"""

from __future__ import annotations

import asyncio
from itertools import pairwise

from chaos.experiments.sheet import Sheet
from chaos.history import Type
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting

OF_EACH = 12
PRIORITIES = {"low": 1, "normal": 4, "high": 7, "critical": 9}
BUSY_SECONDS = 2.0  # For which the one worker has another task.
PATIENCE_SECONDS = 60.0


async def method(lab: Lab) -> None:
    process, node = Process("learner"), lab.target.nodes[0]
    busy = await lab.submit(process, node, type="sleep", data=BUSY_SECONDS, priority=9)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await lab.seen(lambda event: _is(event.kind, "leased", event.task_id, busy.args["id"]))
    lab.say(f"steady state: the one worker is busy for {BUSY_SECONDS:g} s, whatever comes waits")
    # The least urgent first: if order of arrival decided, they would go first.
    priority_of: dict[str, int] = {}
    for _ in range(OF_EACH):
        for priority in PRIORITIES.values():
            row = await lab.submit(process, node, priority=priority)
            if row.type is Type.OK:
                priority_of[row.args["id"]] = priority
    lab.say(f"{len(priority_of)} tasks of {len(PRIORITIES)} priorities wait, mixed")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await lab.seen(lambda _event: len(_leased(lab, priority_of)) == len(priority_of))
    order = _leased(lab, priority_of)
    lab.say(
        f"priorities in the order of their leases: {_runs([priority_of[id_] for id_ in order])}"
    )
    lab.expect(
        "the more urgent go first, whenever they came",
        _runs([priority_of[id_] for id_ in order]),
        is_met=all(priority_of[one] >= priority_of[next_] for one, next_ in pairwise(order)),
    )
    arrived = list(priority_of)
    lab.expect(
        "within a priority, first come is first served",
        f"{len(order)} leases",
        is_met=all(
            arrived.index(one) < arrived.index(next_)
            for one, next_ in pairwise(order)
            if priority_of[one] == priority_of[next_]
        ),
    )


def _is(kind: str, expected_kind: str, task_id: str | None, expected_id: str) -> bool:
    return (kind, task_id) == (expected_kind, expected_id)


def _leased(lab: Lab, ids: dict[str, int]) -> list[str]:
    """In the order of their first leases."""
    leased = [event.task_id for event in lab.events if event.kind == "leased"]
    return list(dict.fromkeys(id_ for id_ in leased if id_ is not None and id_ in ids))


def _runs(priorities: list[int]) -> str:
    """Such as `9 x 12, 7 x 12`."""
    runs: list[list[int]] = []
    for priority in priorities:
        if not runs or runs[-1][0] != priority:
            runs.append([priority, 0])
        runs[-1][1] += 1
    told = ", ".join(f"{priority} x {count}" for priority, count in runs[:8])
    return told + (", …" if len(runs) > 8 else "")


SHEET = Sheet(
    name="priorities",
    question="Forty-eight tasks of four priorities wait for one worker. In which order do they go?",
    prediction="The first to come are of low priority. When is their turn? Could it never come?",
    explanation=(
        "A waiting task has one number that orders it: when it began to wait, less five minutes"
        " for each level of its priority. So the urgent pass all others that came within minutes,"
        " equals keep their order, and a low one that has waited long enough is passed no more."
    ),
    method=method,
    setting=Setting(workers=1, slots=1),
    broken=Setting(workers=1, slots=1, bug="priorities-ignored"),
    why_broken="The turn is the moment of arrival alone: priorities are written down, and no more.",
)
