"""Two of three nodes are killed: the last one serves nobody, and loses nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from chaos.experiments.sheet import Sheet
from chaos.history import Type
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting
from chaos.telling import told


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    survivor, *doomed = [node for node in lab.target.nodes if node != leader]
    lab.say(f"steady state: {leader} leads; clients write through every node")
    async with lab.traffic(clients=6), AsyncExitStack() as killed:
        await asyncio.sleep(2)
        known = await lab.submit(Process("before"), survivor)
        for node in (leader, *doomed):
            await killed.enter_async_context(
                lab.killed(node, is_disk_kept=lab.setting.are_disks_kept)
            )
        await lab.lookout.until(
            f"{survivor} knows of no leader",
            lambda views: (sight := views[survivor]) is not None and sight.role != "leader",
        )
        row = await lab.submit(Process("during"), survivor)
        lab.expect(
            f"{survivor} says that a write certainly did not happen (503), or may have (504)",
            f"{row.type}, {row.value}",
            is_met=row.type is not Type.OK,
        )
        asked = {"id": known.args["id"], "stale": True}
        stale = await lab.client.ask(Process("reader"), "task", asked, node=survivor)
        lab.expect(
            "it shows what it has to whoever asks for an old state",
            told(stale),
            is_met=stale.type is Type.OK and stale.value.get("status") is not None,
        )


SHEET = Sheet(
    name="kill-the-majority",
    question="Two of three nodes die at once. What does the last one do for its clients?",
    prediction="May it go on alone? What would you have to know to let it?",
    explanation=(
        "The last node cannot know whether the other two are dead or serve others behind a broken"
        " network: it takes in nothing, and shows its old state only to who asks for that. When one"
        " of them is back with its disk, there is a majority that knows all that was acknowledged."
    ),
    method=method,
    broken=Setting(are_disks_kept=False),
    why_broken=(
        "Two come back with empty disks. What only they knew is gone, so their votes must not"
        " count, and without them there is no majority: the cluster stops rather than forgets."
    ),
)
