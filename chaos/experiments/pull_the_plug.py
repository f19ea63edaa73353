"""Every process is killed at the same moment, and all are started again."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Sheet
from chaos.history import Type
from chaos.lab import START_SECONDS, Lab
from chaos.lookout import leader_of
from chaos.measures import outage
from chaos.setting import Setting

DOWN_SECONDS = 1.0
BACK_SECONDS = 20.0


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    lab.say(f"steady state: {leader} leads; clients write through every node")
    async with lab.traffic(clients=6):
        await asyncio.sleep(3)
        acknowledged = sum(row.f == "submit" and row.type is Type.OK for row in lab.recorder.rows)
        async with lab.all_killed():
            lab.say(f"{acknowledged} tasks had been acknowledged; nobody lives who knows of them")
            await asyncio.sleep(DOWN_SECONDS)
        back_at = lab.now()
        await lab.lookout.until(
            "one leads again",
            lambda views: leader_of(views) is not None,
            timeout_seconds=START_SECONDS,
        )
        await asyncio.sleep(2)
        took = outage(lab.recorder.rows, back_at)
        lab.expect(
            f"the cluster serves within {BACK_SECONDS:g} s of its start, and nobody's help",
            f"{took:.2f} s",
            is_met=took <= BACK_SECONDS,
        )


SHEET = Sheet(
    name="pull-the-plug",
    question="All nodes and workers die at the same moment. What is still there when they return?",
    prediction="A task was acknowledged a millisecond before. Where was it then?",
    explanation=(
        "On the disks of a majority: an answer waits for that. Each node reads its log, they elect"
        " a leader, and whatever was committed is applied again, in the same order, to the same"
        " state. A kill is not a power cut, though: what a process has written outlives it in the"
        " system's memory. `tests/crash` cuts the power of a file system, fifty times."
    ),
    method=method,
    broken=Setting(bug="flush-forgotten"),
    why_broken=(
        "The log is written through a buffer of the process, and answers do not wait for it: what"
        " was acknowledged last died with the processes."
    ),
)
