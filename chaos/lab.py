"""The lab: a cluster with traffic on it, faults with their undo, and the story of what was seen.

An experiment is written against this alone, so that it reads like a lab sheet and runs on whatever
target. Whatever it injects is undone when its context ends, however that comes. It stands on
`scene.py` (what is there and is seen) and `injecting.py` (what goes wrong).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from chaos.checkers.evidence import Evidence
from chaos.checkers.serving import IN_A_ROW, PROBE
from chaos.checkers.tasks import FINAL
from chaos.history import Row, Type
from chaos.injecting import Injecting
from chaos.recording import Process
from gateway.ids import new_id
from node.waiting import wait_until

START_SECONDS = 60.0  # For which whatever was started may be silent.
DRAIN_SECONDS = 60.0
EVENTS_SECONDS = 20.0
SERVE_SECONDS = 20.0  # For which a node may take in nothing after the heal.
DEPOSED_SECONDS = 2.0  # A leader without a majority steps down after one.
LOOK_SECONDS = 0.1
JOIN_SECONDS = 60.0
AT_ONCE = 50  # Of the looks at how tasks have ended.
_DRAIN, _MARKER = "drain", "marker"  # Processes of the lab's own, whose rows are no evidence.


@dataclass
class Lab(Injecting):
    """Everything that an experiment works with."""

    final: dict[str, str | None] | None = None  # Not known before all was drained.
    markers: set[str] = field(default_factory=set)  # Tasks of the lab's own: no evidence.

    @asynccontextmanager
    async def traffic(
        self, *, clients: int = 4, pause: float = 0.03, nodes: Sequence[str] = (), **task: Any
    ) -> AsyncIterator[None]:
        """Clients that submit, look and now and then cancel, each through a node of its own."""
        among = nodes or self.target.nodes
        running = [
            asyncio.create_task(
                self._client(Process(f"client{number}"), among[number % len(among)], pause, task)
            )
            for number in range(clients)
        ]
        try:
            yield
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def submit(self, process: Process, node: str, **task: Any) -> Row:
        """One task of the built-in type `noop`, unless *task* says otherwise."""
        return await self.client.ask(process, "submit", submission(**task), node=node)

    async def add_workers(self, count: int) -> list[str]:
        """Start so many more workers and wait until the cluster knows them; their names."""
        names = await self.target.add_workers(count)
        await asyncio.gather(*map(self._joined, names))
        return names

    async def _joined(self, name: str) -> None:
        async def session() -> str | None:
            return self.target.session_of(name)

        what = f"{name} to join"
        joined = await wait_until(session, what=what, timeout_seconds=JOIN_SECONDS)
        async with asyncio.timeout(JOIN_SECONDS):
            await self.seen(lambda event: event.worker_id == joined)
        self.say(f"{name} has joined")

    async def _client(
        self, process: Process, node: str, pause: float, task: Mapping[str, Any]
    ) -> None:
        mine: list[str] = []
        while True:
            chance = self.random.random()
            if not mine or chance < 0.5:
                row = await self.submit(process, node, **task)
                if row.type is not Type.FAIL:
                    mine.append(row.args["id"])
            else:
                f = "task" if chance < 0.95 else "cancel"
                asked = {"id": self.random.choice(mine[-20:])}
                await self.client.ask(process, f, asked, node=node)
            await asyncio.sleep(pause)

    async def expect_deposed(self, leader: str, since: float) -> None:
        """Wait until *leader*, in trouble since then, no longer says that it leads."""
        await self.lookout.until(
            f"{leader} steps down",
            lambda views: (sight := views[leader]) is not None and sight.role != "leader",
        )
        took, limit = self.now() - since, DEPOSED_SECONDS * self.setting.pace
        self.expect(
            f"{leader} steps down within {limit:g} s", f"{took:.2f} s", is_met=took <= limit
        )

    async def settle(self) -> None:
        """After the last heal: every node serves, what waits is done, and all is looked at once."""
        self.healed = max(self.healed, self.now())
        await self.lookout.until(
            "every node answers",
            lambda views: None not in views.values(),
            timeout_seconds=START_SECONDS,
        )
        served = await asyncio.gather(*map(self._probe, self.target.nodes))
        if not all(served):
            raise TimeoutError(f"not every node serves again, {SERVE_SECONDS:g} s after the heal")
        self.say("every node serves again")
        await self._drain()
        await self._see_events()

    async def _probe(self, node: str) -> bool:
        """Write through *node* until ten in a row have succeeded, or none has for too long."""
        patience = SERVE_SECONDS * self.setting.pace
        until = self.now() + 3 * patience
        process, in_a_row, served_at = Process(f"{PROBE}-{node}"), 0, self.now()
        while in_a_row < IN_A_ROW and self.now() < min(until, served_at + patience):
            row = await self.submit(process, node)
            if row.type is Type.OK:
                in_a_row, served_at = in_a_row + 1, self.now()
            else:
                in_a_row = 0
                await asyncio.sleep(LOOK_SECONDS)
        return in_a_row == IN_A_ROW

    async def _drain(self) -> None:
        """Wait until all that may have been submitted has ended, and note how."""
        rows = self.recorder.history()
        # What failed is looked for as well: it must not be there.
        left = {row.task_id for row in rows if row.f == "submit" and row.task_id is not None}
        self.final = final = {}
        until = self.now() + DRAIN_SECONDS
        process, node = Process(_DRAIN), self.target.nodes[0]

        async def look(task_id: str) -> None:
            row = await self.client.ask(process, "task", {"id": task_id}, node=node)
            if row.type is Type.OK:
                status = final[task_id] = row.value["status"]
                if status is None or status in FINAL:
                    left.discard(task_id)

        while left and self.now() < until:
            ids = sorted(left)
            for at in range(0, len(ids), AT_ONCE):
                if self.now() < until:
                    await asyncio.gather(*map(look, ids[at : at + AT_ONCE]))
            if left:
                await asyncio.sleep(LOOK_SECONDS)
        self.say(told_of_the_end(final, len(left)))

    async def _see_events(self) -> None:
        """Wait until every transition so far has been read: up to a task that marks the end."""
        process, marker = Process(_MARKER), ""
        async with asyncio.timeout(EVENTS_SECONDS):
            while not marker:
                row = await self.submit(process, self.target.nodes[0])
                self.markers.add(row.args["id"])
                marker = row.args["id"] if row.type is Type.OK else ""
            await self.seen(lambda event: event.task_id == marker)

    def evidence(self) -> Evidence:
        """All that this run has left."""
        rows = [row for row in self.recorder.history() if row.process not in (_DRAIN, _MARKER)]
        return Evidence(
            rows=rows,
            events=[event for event in self.events if event.task_id not in self.markers],
            sights=self.lookout.sights,
            faults=self.faults,
            begun_anew=self.begun_anew,
            final=self.final,
            healed=self.healed,
            nodes=self.target.nodes,
            floor=50,
        )


def submission(**task: Any) -> dict[str, Any]:
    """What to submit: a task of the built-in type `noop`, unless *task* says otherwise."""
    usual = {"id": new_id(), "type": "noop", "data": None, "queue": "default", "priority": 4}
    return usual | task


def told_of_the_end(final: Mapping[str, str | None], left: int) -> str:
    """How tasks are once all was drained; None in *final* is one that is not there."""
    ended = sum(status in FINAL for status in final.values())
    absent = sum(status is None for status in final.values())
    return f"{ended} tasks have ended, {left} have not; {absent} more were never taken in"
