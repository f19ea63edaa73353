"""A worker dies with tasks in its hands: they go to another, and each is done."""

from __future__ import annotations

import asyncio
from functools import partial

from chaos.experiments.sheet import Sheet
from chaos.history import Type
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting
from cluster.core.model import Event

TASKS = 20
TASK_SECONDS = 0.5
PATIENCE_SECONDS = 20.0  # A lease and the work itself take less than half of it.


async def method(lab: Lab) -> None:
    process, node = Process("learner"), lab.target.nodes[0]
    victim = lab.target.workers[0]
    rows = [await lab.submit(process, node, type="sleep", data=TASK_SECONDS) for _ in range(TASKS)]
    lab.say(f"{TASKS} tasks of {TASK_SECONDS:g} s each were submitted")
    await lab.seen(lambda event: event.kind == "leased")
    async with lab.traffic(clients=2), lab.killed(victim):
        ids = {row.args["id"] for row in rows if row.type is Type.OK}
        async with asyncio.timeout(PATIENCE_SECONDS):
            for task_id in ids:
                await lab.seen(partial(_is_completion, task_id))
        lab.expect("every task was completed", f"{len(ids)} of {TASKS}", is_met=len(ids) == TASKS)
        again = [each for each in lab.events if each.kind == "released" and each.task_id in ids]
        lab.expect(
            "what the dead worker held was handed out again once its lease had run out",
            f"{len(again)} tasks",
            is_met=bool(again),
        )


def _is_completion(task_id: str, event: Event) -> bool:
    return event.kind == "completed" and event.task_id == task_id


SHEET = Sheet(
    name="kill-a-worker",
    question="A worker is killed with tasks in its hands. What becomes of them?",
    prediction="How many of the twenty tasks are lost? How many run twice? After how long?",
    explanation=(
        "A worker holds its tasks under leases that its heartbeats renew. A dead one sends none:"
        " when its session's time is up, its tasks go back to their old places in the queue, and"
        " whoever has room takes them. It cost them a delivery, not an attempt."
    ),
    method=method,
    broken=Setting(workers=1),
    why_broken="There is no other worker: the tasks wait until someone starts one.",
)
