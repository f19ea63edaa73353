"""The leader ends up alone: for a moment it still believes that it leads; it commits nothing."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Sheet
from chaos.history import Type
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting
from chaos.targets.contract import alone


async def method(lab: Lab) -> None:
    old = await lab.lookout.leader()
    others = set(lab.target.nodes) - {old}
    lab.say(f"steady state: {old} leads; clients write through every node")
    async with lab.traffic(clients=6):
        await asyncio.sleep(2)
        async with lab.cut("cut off from the other nodes", old, alone(old, lab.target.nodes)):
            cut_at = lab.now()
            in_flight = asyncio.create_task(lab.submit(Process("in-flight"), old))
            new = await lab.lookout.leader(among=others)
            lab.say(f"{new} leads a new term; its clients go on")
            sight = lab.lookout.newest[old]
            if sight is not None and sight.role == "leader":
                lab.say(f"two nodes say that they lead: {old}, of term {sight.term}, and {new}")
            await lab.expect_deposed(old, cut_at)
            first = await in_flight
            lab.expect(
                "the write that was in flight may have happened (504), or certainly did not (503)",
                f"{first.type}, {first.value}",
                is_met=first.type is not Type.OK,
            )
            later = await lab.submit(Process("later"), old)
            lab.expect(
                "a later write at the minority's end certainly did not happen (503 no_quorum)",
                f"{later.type}, {later.value}",
                is_met=(later.type, later.value) == (Type.FAIL, "no_quorum"),
            )
            here = await lab.submit(Process("majority"), new)
            lab.expect(
                "a write at the majority's end succeeds", here.type, is_met=here.type is Type.OK
            )
        await asyncio.sleep(2)


SHEET = Sheet(
    name="leader-in-the-minority",
    question="A cut leaves the leader alone, with clients on both sides. Who may write?",
    prediction=(
        "For how long do two nodes say that they lead? What is a client told that asks the old one?"
    ),
    explanation=(
        "A leader that hears no majority for a second steps down, and before that nothing that it"
        " takes in is committed: an entry counts once a majority holds it. The others elect a"
        " leader of a later term, and after the heal the old one follows it."
    ),
    method=method,
    broken=Setting(bug="leader-never-falls-back"),
    why_broken="A leader that hears nobody goes on: its clients wait for what cannot come.",
)
