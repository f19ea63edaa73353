"""The leader is killed under load: another takes over, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Setting, Sheet
from chaos.history import Type
from chaos.lab import Lab

GAP_SECONDS = 2.0


async def method(lab: Lab) -> None:
    old = await lab.lookout.leader()
    lab.say(f"steady state: {old} leads; clients write through every node")
    async with lab.traffic(clients=6):
        await asyncio.sleep(2)
        async with lab.killed(old):
            killed_at = lab.now()
            await asyncio.sleep(2 * GAP_SECONDS)
            gap = _gap(lab, killed_at)
            lab.expect(
                f"the others acknowledge writes again within {GAP_SECONDS:g} s",
                f"{gap:.2f} s",
                is_met=gap <= GAP_SECONDS,
            )
        await asyncio.sleep(2)


def _gap(lab: Lab, since: float) -> float:
    """How long nobody was told of a write that began after *since*."""
    moments = [
        row.returned
        for row in lab.recorder.rows
        if row.f == "submit" and row.type is Type.OK and row.invoked >= since
    ]
    return min(moments, default=float("inf")) - since


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
