"""A reply is lost after its request was committed, and the client asks again."""

from __future__ import annotations

import asyncio

from chaos.experiments.sheet import PROMISES, Sheet
from chaos.history import Row, Type
from chaos.lab import Lab, submission
from chaos.recording import Process
from chaos.setting import Setting
from chaos.telling import told
from gateway.ids import new_id

PATIENCE_SECONDS = 60.0


async def method(lab: Lab) -> None:
    first, *others = lab.target.nodes
    await _repeat_what_was_answered(lab, first)
    key = {"idempotency_key": f"order-{new_id()}"} if lab.setting.are_requests_keyed else {}
    async with lab.traffic(clients=6):
        await asyncio.sleep(2)
        lab.say(f"the client submits an order {'under a key' if key else 'without a key'}")
        async with lab.replies_lost(first) as (cut_off, relay):
            asked = submission(data="one order, please", **key)
            waiting = asyncio.create_task(
                cut_off.ask(Process("learner"), "submit", asked, node=first)
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                committed = await lab.seen(
                    lambda event: event.kind == "submitted" and event.task_id == asked["id"]
                )
            lab.say(f"it is committed, at index {committed.index}; the client does not know")
            relay.reset()
            lost = await waiting
            lab.expect(
                "the client cannot tell whether it happened",
                lost.type,
                is_met=lost.type is Type.INFO,
            )
        repeats = [await _repeat(lab, node, key) for node in (first, *others)]
        tasks = {asked["id"], *(row.task_id for row in repeats)}
        lab.expect(
            f"asked {1 + len(repeats)} times, through every node, it is one task",
            f"{len(tasks)} tasks",
            is_met=len(tasks) == 1,
        )
        await asyncio.sleep(2)


async def _repeat_what_was_answered(lab: Lab, node: str) -> None:
    """Where no answer was lost a key is remembered as well: this much must hold of any setting."""
    key = {"idempotency_key": f"rehearsal-{new_id()}"}
    rows = [await _repeat(lab, node, key) for _ in range(2)]
    lab.say(f"rehearsal: asked twice under one key; the second time: {told(rows[1])}")


async def _repeat(lab: Lab, node: str, key: dict[str, str]) -> Row:
    """The same order in a request of its own: only a key says that it is the same."""
    return await lab.submit(Process(f"again-{new_id()}"), node, data="one order, please", **key)


SHEET = Sheet(
    name="the-lost-reply",
    question="An order is taken in, the answer is lost, the client asks again. How many orders?",
    prediction="What does the client know when the connection breaks? Is asking again safe?",
    explanation=(
        "A client that hears nothing cannot know whether nothing happened or only the answer was"
        " lost, and no protocol can tell it. What it can do is to say that this is the same"
        " request: by an idempotency key, or an id of its own. Both are in the replicated state,"
        " so every node knows them, whoever leads."
    ),
    method=method,
    promises=(*PROMISES, "idempotent"),
    broken=Setting(are_requests_keyed=False),
    why_broken="Nothing says that the second request is the first again: the customer pays twice.",
)
