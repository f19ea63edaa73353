"""Five nodes in a ring: each hears its two neighbours, and no two see the same majority."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import Sheet
from chaos.lab import Lab
from chaos.measures import acknowledgements
from chaos.setting import Setting
from chaos.targets.contract import ring_of_majorities

CUT_SECONDS = 8.0
TERMS_MAX = 1


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    ring = " - ".join((*lab.target.nodes, lab.target.nodes[0]))
    lab.say(f"steady state: {leader} leads five nodes; clients write through every node")
    async with lab.traffic(clients=10):
        await asyncio.sleep(2)
        before = _term(lab)
        async with lab.cut(
            "each hears its neighbours only", ring, ring_of_majorities(lab.target.nodes)
        ):
            since = lab.now()
            await asyncio.sleep(CUT_SECONDS)
            terms = _term(lab) - before
            lab.expect(
                f"who hears no leader raises no term: at most {TERMS_MAX} more is known of",
                f"{terms} more in {CUT_SECONDS:g} s",
                is_met=terms <= TERMS_MAX,
            )
            written = len([at for at in acknowledgements(lab.recorder.rows) if at > since])
            lab.expect("it and its neighbours serve on", f"{written} writes", is_met=written > 0)
        await asyncio.sleep(1)


def _term(lab: Lab) -> int:
    return max(sight.term for sight in lab.lookout.newest.values() if sight is not None)


SHEET = Sheet(
    name="ring-of-majorities",
    question="Each of five nodes hears its two neighbours and no one else. Who leads?",
    prediction=(
        "Everyone sees a majority, and none the same. The two that do not hear the leader want"
        " another: will they get one, again and again?"
    ),
    explanation=(
        "The leader and its neighbours are three of five, so they serve. The other two hear no"
        " leader, and ask around before they stand: a neighbour that hears the leader refuses, and"
        " no term is raised. Their own clients are told no until the ring is whole again."
    ),
    method=method,
    setting=Setting(nodes=5),
    broken=Setting(nodes=5, bug="no-pre-vote"),
    why_broken=(
        "Whoever hears no leader stands at once, under a new term, and again when nobody votes for"
        " it. Terms run away, and when the ring is whole again they depose a leader that did well."
    ),
)
