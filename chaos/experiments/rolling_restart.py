"""Every node is restarted in turn, under load: the cluster does not stop for it."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Sheet
from chaos.lab import Lab
from chaos.measures import longest_gap
from chaos.setting import Setting

GAP_SECONDS = 0.75
BACK_SECONDS = 40.0


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    others = [node for node in lab.target.nodes if node != leader]
    lab.say(f"steady state: {leader} leads; clients write through every node")
    async with lab.traffic(clients=2 * len(lab.target.nodes)):
        await asyncio.sleep(2)
        since = lab.now()
        if lab.setting.is_operator_patient:
            for node in (*others, leader):
                await lab.restart(node)
                await _is_back(lab, node)
        else:
            await asyncio.gather(*map(lab.restart, (*others, leader)))
            await asyncio.gather(*(_is_back(lab, node) for node in lab.target.nodes))
        await asyncio.sleep(1)
        gap = longest_gap(lab.recorder.rows, since, lab.now())
        limit = GAP_SECONDS * lab.setting.pace
        lab.expect(
            f"at no moment was there no acknowledged write for more than {limit:g} s",
            gap,
            is_met=gap.seconds <= limit,
        )


async def _is_back(lab: Lab, node: str) -> None:
    """Wait until *node* follows, or leads, and has applied what was committed when it began."""
    index = max((sight.commit_index for sight in lab.lookout.newest.values() if sight), default=0)
    await lab.lookout.until(
        f"{node} is back",
        lambda views: (sight := views[node]) is not None and sight.applied_index >= index,
        timeout_seconds=BACK_SECONDS,
    )
    lab.say(f"{node} is back")


SHEET = Sheet(
    name="rolling-restart",
    question="A new version goes in, node by node, under load. What do the clients notice?",
    prediction="For how long is no write acknowledged? Which restart is the one that is felt?",
    explanation=(
        "A majority serves while one is away. A leader that is asked to stop hands its leadership"
        " over first, to whoever has all of its log, and nobody waits for a timeout. A node that"
        " starts reads its log and is sent what it missed; only then the next one may go."
    ),
    method=method,
    broken=Setting(is_operator_patient=False),
    why_broken="Whoever restarts all at once has no cluster until a majority is back.",
)
