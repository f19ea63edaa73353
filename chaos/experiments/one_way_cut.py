"""The leader is heard and hears nobody: half a connection is worse than none."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Sheet
from chaos.lab import Lab
from chaos.setting import Setting
from chaos.targets.contract import deaf


async def method(lab: Lab) -> None:
    old = await lab.lookout.leader()
    lab.say(f"steady state: {old} leads; clients write through every node")
    async with lab.traffic(clients=6):
        await asyncio.sleep(2)
        async with lab.cut("deaf: it is heard, and hears nobody", old, deaf(old, lab.target.nodes)):
            await lab.expect_deposed(old, lab.now())
            new = await lab.lookout.leader(among=set(lab.target.nodes) - {old})
            lab.say(f"{new} leads")
            await asyncio.sleep(2)
        await asyncio.sleep(2)


SHEET = Sheet(
    name="one-way-cut",
    question="The leader's heartbeats arrive, the answers to it do not. Does anyone notice?",
    prediction="The followers hear their leader all the time. Will they elect another?",
    explanation=(
        "While the followers hear a leader they stand for nothing. So it is the leader that must"
        " go: it counts the answers of a majority, and without them for a second it steps down."
    ),
    method=method,
    broken=Setting(bug="leader-never-falls-back"),
    why_broken="The deaf leader stays, the followers wait for it, and nobody can write.",
)
