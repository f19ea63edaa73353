"""Hundreds of clients ask at the same moment, again and again."""

from __future__ import annotations

import asyncio
from collections import Counter

from chaos.experiments.sheet import Sheet
from chaos.history import Row, Type
from chaos.lab import Lab
from chaos.measures import slowest
from chaos.recording import Process
from chaos.setting import Setting

CLIENTS = 200
WAVES = 3
ANSWER_SECONDS = 4.0


async def method(lab: Lab) -> None:
    leader = await lab.lookout.leader()
    lab.say(f"steady state: {leader} leads; a few clients write")
    async with lab.traffic(clients=3):
        await asyncio.sleep(1.5)
        term = lab.lookout.newest[leader]
        rows: list[Row] = []
        for wave in range(WAVES):
            rows += await _wave(lab, wave)
        told = Counter(str(row.type) for row in rows)
        lab.expect(
            "every one is told what became of it: taken in, or certainly not",
            ", ".join(f"{count} {type_}" for type_, count in told.items()),
            is_met=all(row.type is not Type.INFO for row in rows),
        )
        worst = slowest(rows)
        lab.expect(
            f"nobody waits longer than {ANSWER_SECONDS:g} s",
            f"{worst:.2f} s",
            is_met=worst <= ANSWER_SECONDS,
        )
        after = await lab.lookout.leader()
        now = lab.lookout.newest[after]
        lab.expect(
            "the leader stays: load is no reason for an election",
            f"{after} leads term {now.term if now else '?'}",
            is_met=bool(now and term and now.term == term.term),
        )


async def _wave(lab: Lab, wave: int) -> list[Row]:
    """All clients at once; each goes through one node and asks once."""
    nodes = lab.target.nodes
    began = lab.now()
    rows = await asyncio.gather(
        *(
            lab.submit(Process(f"herd{wave}-{number}"), nodes[number % len(nodes)])
            for number in range(CLIENTS)
        )
    )
    lab.say(f"wave {wave + 1}: {CLIENTS} clients were answered within {lab.now() - began:.2f} s")
    return list(rows)


SHEET = Sheet(
    name="thundering-herd",
    question="Hundreds of clients ask at the same moment. Does the cluster lose its head?",
    prediction="How long does the last of them wait? Does the leader still hear its followers?",
    explanation=(
        "What arrives together is one batch: one entry, one sync, one round to the followers. What"
        " is too much is refused at once, with 429, which certainly did not happen; Raft's own"
        " messages are never refused and never wait behind a client's."
    ),
    method=method,
    broken=Setting(bug="apply-holds-the-loop"),
    why_broken=(
        "Every submission now waits for something, twenty milliseconds each. Alone that is nothing;"
        " of a herd each waits for all before it, and heartbeats wait as well."
    ),
)
