"""The leader is killed under load: another takes over, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Sheet
from chaos.lab import Lab
from chaos.measures import longest_gap
from chaos.setting import Setting

GAP_SECONDS = 2.0


async def method(lab: Lab) -> None:
    old, limit = await lab.lookout.leader(), GAP_SECONDS * lab.setting.pace
    lab.say(f"steady state: {old} leads; clients write through every node")
    async with lab.traffic(clients=6):
        await asyncio.sleep(2)
        killed_at = lab.now()
        async with lab.killed(old):
            await asyncio.sleep(2 * limit)
            gap = longest_gap(lab.recorder.rows, killed_at, lab.now())
            lab.expect(
                f"the others acknowledge writes again within {limit:g} s",
                gap,
                is_met=gap.seconds <= limit,
            )
        await asyncio.sleep(2)


SHEET = Sheet(
    name="kill-the-leader",
    question="The leader is killed while clients write through every node. What is lost?",
    prediction="For how long does nobody get an answer? Is a task lost that was acknowledged?",
    explanation=(
        "What was acknowledged is on the disks of a majority, and any two majorities share a node:"
        " whoever is elected has it. The dead leader's connections are reset at once, so the others"
        " need not wait for their timeout; who had a request in flight asks another node, under the"
        " same id."
    ),
    method=method,
    broken=Setting(nodes=2),
    why_broken="Of two nodes one is no majority: nobody leads until the other is back.",
)
