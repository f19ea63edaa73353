"""One bit of a dead node's log is flipped: does it notice, and who pays?"""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Sheet
from chaos.history import Type
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting
from node.waiting import wait_until

PATIENCE_SECONDS = 60.0
DAMAGED, GOES_ON = "is damaged at byte", "it goes on"


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    victim = next(node for node in lab.target.nodes if node != leader)
    lab.say(f"steady state: {leader} leads; clients write through every node")
    async with lab.traffic(clients=6):
        await asyncio.sleep(3)
        async with lab.damaged(victim, "log") as place:
            await lab.lookout.until(f"{victim} is silent", lambda views: views[victim] is None)
            await lab.target.revive(victim)
            lab.say(f"{victim} is started on it")
            complaint = await _complaint(lab, victim)
            lab.expect(
                f"{victim} refuses to start, and names the file",
                complaint or "it started",
                is_met=complaint is not None and place.partition(",")[0] in complaint,
            )
            row = await lab.submit(Process("majority"), leader)
            lab.expect("the others serve on", row.type, is_met=row.type is Type.OK)
        await lab.lookout.until(
            f"{victim} is back",
            lambda views: views[victim] is not None,
            timeout_seconds=PATIENCE_SECONDS,
        )
        lab.say(f"{victim} begins with an empty disk, and is sent what it lacks")
        await asyncio.sleep(2)


async def _complaint(lab: Lab, node: str) -> str | None:
    """What *node* says of its disk, each time that it is started; None if it goes on."""

    async def outcome() -> str | None:
        lines = lab.target.logs()[node].splitlines()
        damaged = next((line for line in reversed(lines) if DAMAGED in line), None)
        return damaged or (GOES_ON if lab.lookout.newest[node] is not None else None)

    what = f"{node} to start or to complain"
    seen = await wait_until(outcome, what=what, timeout_seconds=PATIENCE_SECONDS)
    return None if seen == GOES_ON else seen


SHEET = Sheet(
    name="flip-one-bit",
    question="One bit of a node's log has flipped on its disk. What happens when it starts?",
    prediction="Will it notice? May it cut off what it cannot read, and go on with the rest?",
    explanation=(
        "Each write to the log carries a checksum. A short end is a write that was under way and is"
        " cut; a whole record with a wrong checksum may have been acknowledged, so the node stops"
        " and names file and byte. Its directory moved away, it comes back as a newcomer: it has no"
        " vote until the others have sent it what it lacks."
    ),
    method=method,
    broken=Setting(bug="damage-is-cut"),
    why_broken=(
        "The node takes the damage for a torn end, cuts it off with all that follows, and votes as"
        " if what it had acknowledged had never been."
    ),
)
