"""The clients of a soak: they submit, repeat, look, cancel and retry, on any node, and record it.

What ends in a dict is not looked at: the checker of single tasks compares results as plain values.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any

from chaos.history import Type
from chaos.lab import Lab
from chaos.recording import Process
from gateway.ids import new_id

RECORDED_QUEUE = "recorded"  # Served by `workers.py` alone, whose reports are rows of the history.
REMEMBERED = 30  # Tasks that a client comes back to.
KEYED_SHARE = 0.2
_LEVELS = (1, 4, 4, 4, 7, 9)
_WHAT = {"submit": 45, "again": 5, "task": 30, "stale": 5, "cancel": 8, "retry": 7}


class Client:
    """One session at a time; whoever was not answered goes on as another."""

    def __init__(self, lab: Lab, number: int, *, pause_seconds: float) -> None:
        self._lab = lab
        self._process = Process(f"client{number}")
        self._pause_seconds = pause_seconds
        self._random = random.Random(f"{lab.seed} {number}")
        self._mine: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    async def run(self) -> None:
        """Ask one thing after the other, until cancelled."""
        while True:
            await self._ask(self._random.choice(self._lab.target.nodes))
            await asyncio.sleep(self._random.uniform(0, 2) * self._pause_seconds)

    async def _ask(self, node: str) -> None:
        dice, client = self._random, self._lab.client
        [what] = dice.choices([*_WHAT], [*_WHAT.values()])
        if what == "submit" or not self._mine:
            task = self._new_task()
            row = await client.ask(self._process, "submit", task, node=node)
            if row.type is not Type.FAIL and task["type"] != "sleep":
                self._mine.append(task)
            return
        task = dice.choice(self._mine)
        if what == "again":
            # Under a key the id is another: it is by the key alone that the task is known.
            again = task | {"id": new_id()} if "idempotency_key" in task else task
            await client.ask(self._process, "submit", again, node=node)
        elif what == "stale":
            asked = {"id": task["id"], "stale": True}
            await client.ask(self._process, "task", asked, node=node)
        else:
            await client.ask(self._process, what, {"id": task["id"]}, node=node)

    def _new_task(self) -> dict[str, Any]:
        dice = self._random
        type_ = dice.choices(["noop", "echo", "fail", "sleep"], [40, 40, 5, 15])[0]
        task: dict[str, Any] = {
            "id": new_id(),
            "type": type_,
            "data": {"echo": "said", "sleep": round(dice.uniform(0, 0.3), 2)}.get(type_),
            "queue": "default",
            "priority": dice.choice(_LEVELS),
            "max_attempts": 2,
        }
        if type_ == "noop" and dice.random() < 0.7:
            task["queue"] = RECORDED_QUEUE
        if dice.random() < KEYED_SHARE:
            task["idempotency_key"] = task["id"]
        return task
