"""The network parts the nodes: first one from the rest, then one half from the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chaos.experiments.sheet import Sheet
from chaos.history import Type
from chaos.lab import Lab
from chaos.measures import outage
from chaos.recording import Process
from chaos.setting import Setting
from chaos.targets.contract import alone, apart
from chaos.telling import told

RECOVERY_SECONDS = 4.0  # Until the larger side has a leader and a client of it an answer.


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    lab.say(f"steady state: {leader} leads {len(lab.target.nodes)} nodes; clients on every node")
    async with lab.traffic(clients=2 * len(lab.target.nodes)):
        await asyncio.sleep(1.5)
        follower = next(node for node in lab.target.nodes if node != leader)
        await _one_is_cut_off(lab, leader, follower)
        await lab.lookout.until(
            "every node hears all others",
            lambda views: all(
                sight and len(sight.hears) + 1 == len(views) for sight in views.values()
            ),
        )
        leader = await lab.lookout.leader()
        others = [node for node in lab.target.nodes if node != leader]
        half = len(lab.target.nodes) // 2
        await _halves(lab, [leader, *others[: half - 1]], others[half - 1 :])
        await asyncio.sleep(1)


async def _one_is_cut_off(lab: Lab, leader: str, follower: str) -> None:
    cut = lab.cut("cut off from all other nodes", follower, alone(follower, lab.target.nodes))
    async with cut:
        here, there = await asyncio.gather(
            lab.submit(Process("majority"), leader), lab.submit(Process("cut-off"), follower)
        )
        lab.expect("the others go on without it", told(here), is_met=here.type is Type.OK)
        lab.expect(
            "its own clients are told that nothing happened, or that nothing is certain",
            told(there),
            is_met=there.type is not Type.OK,
        )
        asked = {"id": here.args["id"], "stale": True}
        stale = await lab.client.ask(Process("reader"), "task", asked, node=follower)
        lab.expect(
            "who asks it for an old state is given one: it does not know of the newest task",
            told(stale),
            is_met=stale.type is Type.OK and stale.value.get("status") is None,
        )


async def _halves(lab: Lab, one: Sequence[str], other: Sequence[str]) -> None:
    name = f"the network parts {' '.join(one)} from {' '.join(other)}"
    async with lab.cut("parted", f"{' '.join(one)} | {' '.join(other)}", apart(one, other)):
        since = lab.now()
        await asyncio.sleep(RECOVERY_SECONDS)
        took = outage([row for row in lab.recorder.rows if row.args["node"] in other], since)
        lab.expect(
            f"the side with more nodes elects a leader and serves within {RECOVERY_SECONDS:g} s",
            f"{took:.2f} s: {name}",
            is_met=took <= RECOVERY_SECONDS,
        )
        there = await lab.submit(Process("smaller-half"), one[0])
        lab.expect(
            "the side with fewer, where the leader was, takes in nothing",
            told(there),
            is_met=there.type is not Type.OK,
        )


SHEET = Sheet(
    name="network-partition",
    question="A network falls apart, and there are clients in every part. Who of them is served?",
    prediction=(
        "One node of five is cut off: what are its clients told? Then two are, the leader among"
        " them: which side goes on, and why not both?"
    ),
    explanation=(
        "A node cannot tell whether the others are dead or only out of reach. If each part went on,"
        " there would be two truths. So whoever reaches more than half of all nodes goes on, which"
        " at most one part can; the others say no, and catch up when the network is whole again."
    ),
    method=method,
    setting=Setting(nodes=5),
    broken=Setting(nodes=4),
    why_broken=(
        "Two of four are no more than half: neither side may go on. A fourth node adds a machine"
        " that can fail, and no failure that can be borne."
    ),
)
