"""The soak's own workers: over plain HTTP, so that what they are given and report is recorded.

They serve a queue of their own: of a task's reports then none is missing from the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from chaos.history import Row, Type
from chaos.lab import Lab
from chaos.recording import Process
from chaos.soak.clients import RECORDED_QUEUE

LEASES = 4  # At once.
WAIT_SECONDS = 2.0
WORK_SECONDS_MAX = 0.1
PAUSE_SECONDS = 0.2  # Before the next try, once something was refused or nobody answered.
REPEAT_SECONDS = 20.0  # For so long a report that may not have arrived is repeated.
ZOMBIE_SHARE = 0.01  # Of the runs: the worker is silent past its lease, and reports all the same.
_ENDS = {"complete": 80, "fail": 12, "release": 8}


class RecordedWorker:
    """Takes tasks, works a little and says how it went; a lost session is followed by another."""

    def __init__(self, lab: Lab, number: int, *, lease_seconds: float) -> None:
        self._lab = lab
        self._process = Process(f"worker-http{number}")
        self._pulse = Process(f"pulse-http{number}")
        self._random = random.Random(f"{lab.seed} worker {number}")
        self._lease_seconds = lease_seconds
        self._node = lab.target.nodes[number % len(lab.target.nodes)]
        self._held: dict[int, str] = {}  # By token.
        self._count = 0
        self._is_silent = False

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            row = await self._ask("register", {"queues": [RECORDED_QUEUE]})
            if row.type is not Type.OK:
                await self._move()
                continue
            session = row.value["worker_id"]
            beating = asyncio.create_task(self._beat(session, row.value["heartbeat_seconds"]))
            try:
                await self._serve(session)
            finally:
                beating.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await beating

    async def _serve(self, session: str) -> None:
        """Take and do until the session is over."""
        while True:
            self._count += 1
            wanted = {"max": LEASES, "wait": WAIT_SECONDS, "request_id": str(self._count)}
            row = await self._ask("lease", {"worker": session} | wanted)
            if row.type is not Type.OK:
                if row.value in ("worker_unknown", "worker_lost"):
                    return
                await self._move()
                continue
            leases = row.value["leases"]
            self._held |= {token: task_id for task_id, token in leases}
            async with asyncio.TaskGroup() as group:
                for task_id, token in leases:
                    group.create_task(self._work(task_id, token))

    async def _work(self, task_id: str, token: int) -> None:
        """Run one task, and repeat its report, on whatever node, until it is taken or refused."""
        dice, process, node = self._random, Process(f"run{token}"), self._node
        if dice.random() < ZOMBIE_SHARE:
            self._is_silent = True
            await asyncio.sleep(self._lease_seconds * 1.5)
            self._is_silent = False
        await asyncio.sleep(dice.uniform(0, WORK_SECONDS_MAX))
        [end] = dice.choices([*_ENDS], [*_ENDS.values()])
        report: dict[str, Any] = {"id": task_id, "lease_token": token}
        if end == "complete":
            report["result"] = f"under {token}"
        elif end == "fail":
            report |= {"error": "drawn to fail", "retry": dice.random() < 0.5}
        until = self._lab.now() + REPEAT_SECONDS
        while self._lab.now() < until:
            row = await self._lab.client.ask(process, end, report, node=node)
            # Refused for good, or done: else it may be asked again, as it stands.
            if row.type is Type.OK or row.value in ("lease_lost", "task_unknown"):
                break
            node = dice.choice(self._lab.target.nodes)
            await asyncio.sleep(PAUSE_SECONDS)
        self._held.pop(token, None)

    async def _beat(self, session: str, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            if not self._is_silent:
                asked = {"worker": session, "lease_tokens": [*self._held]}
                await self._lab.client.ask(self._pulse, "heartbeat", asked, node=self._node)

    async def _ask(self, f: str, args: dict[str, Any]) -> Row:
        return await self._lab.client.ask(self._process, f, args, node=self._node)

    async def _move(self) -> None:
        """Go on through another node. What the last one told is no promise of the next."""
        others = [node for node in self._lab.target.nodes if node != self._node]
        self._node = self._random.choice(others or [self._node])
        self._process.retire()
        self._pulse.retire()
        await asyncio.sleep(PAUSE_SECONDS)
