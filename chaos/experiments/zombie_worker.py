"""A worker is frozen past its lease, and wakes with a result that is no longer wanted."""

from __future__ import annotations

import asyncio
from functools import partial

from chaos.experiments.sheet import Sheet
from chaos.lab import Lab
from chaos.recording import Process
from chaos.setting import Setting
from cluster.core.model import Event

TASK_SECONDS = 1.0
AGAIN_SECONDS = 20.0


async def method(lab: Lab) -> None:
    process, node = Process("learner"), lab.target.nodes[0]
    row = await lab.submit(process, node, type="sleep", data=TASK_SECONDS)
    task_id = row.args["id"]
    first = await lab.seen(partial(_is, "leased", task_id))
    sessions = {lab.target.session_of(name): name for name in lab.target.workers}
    holder = sessions[first.worker_id]
    lab.say(f"{holder} runs the task under lease {first.lease_token}")
    async with lab.traffic(clients=2), lab.frozen(holder), asyncio.timeout(AGAIN_SECONDS):
        again = await lab.seen(partial(_is_later_lease, task_id, first.lease_token or 0))
        lab.say(f"another worker has it under lease {again.lease_token}")
        done = await lab.seen(partial(_is, "completed", task_id))
        lab.expect(
            "the task was completed under the newer lease",
            f"lease {done.lease_token}",
            is_met=done.lease_token == again.lease_token,
        )
    await asyncio.sleep(TASK_SECONDS + 1)
    completions = [event for event in lab.events if _is("completed", task_id, event)]
    lab.expect(
        "the woken worker's own completion changed nothing",
        f"{len(completions)} completion",
        is_met=len(completions) == 1,
    )


def _is(kind: str, task_id: str, event: Event) -> bool:
    return event.kind == kind and event.task_id == task_id


def _is_later_lease(task_id: str, token: int, event: Event) -> bool:
    return _is("leased", task_id, event) and (event.lease_token or 0) > token


SHEET = Sheet(
    name="zombie-worker",
    question="A worker stops for longer than its lease, and then goes on. Who completes the task?",
    prediction="Does the frozen worker know that it was given up? Whose result stands?",
    explanation=(
        "Leases count in the cluster's time, and the frozen worker sends no heartbeat: its task is"
        " leased anew, under a higher token. What it reports on waking carries the old token, which"
        " is refused with 409. The token is what your own storage can refuse by, too."
    ),
    method=method,
    broken=Setting(workers=1),
    why_broken="Nobody else is there to take the task over.",
)
