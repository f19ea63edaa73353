"""The lab: a cluster with traffic on it, faults with their undo, and the story of what was seen.

An experiment is written against this alone, so that it reads like a lab sheet and runs on whatever
target. Whatever it injects is undone when its context ends, however that comes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from chaos.checkers.evidence import Evidence, Fault
from chaos.checkers.serving import IN_A_ROW, PROBE
from chaos.checkers.tasks import FINAL
from chaos.history import Recorder, Row, Type
from chaos.lookout import Lookout
from chaos.recording import Process, RecordingClient
from chaos.targets.contract import Target, Way
from cluster.core.model import Event
from gateway import positions
from gateway.event_source import EventSource
from gateway.ids import new_id

DRAIN_SECONDS = 60.0
DEPOSED_SECONDS = 2.0  # A leader without a majority steps down after one.
LOOK_SECONDS = 0.1
_DRAIN, _MARKER = "drain", "marker"  # Processes of the lab's own, whose rows are no evidence.


class Told(NamedTuple):
    """A line of the story: when, in seconds since the beginning, and what."""

    at: float
    text: str


class Expectation(NamedTuple):
    """What should be seen, what was, and whether they agree."""

    expected: str
    observed: str
    is_met: bool


@dataclass
class Lab:
    """Everything that an experiment works with."""

    target: Target
    narrate: Callable[[Told], None] = lambda _told: None
    seed: int = 0
    recorder: Recorder = field(init=False)
    story: list[Told] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    final: dict[str, str | None] | None = None  # Not known before all was drained.
    events: list[Event] = field(default_factory=list)
    healed: float = 0.0

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.now)
        self.random = random.Random(self.seed)
        self._began = time.monotonic()
        self._stack = AsyncExitStack()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Lab:
        try:
            self._stack.push_async_callback(self.target.stop)
            await self.target.start()
            session = await self._stack.enter_async_context(aiohttp.ClientSession())
            self.client = RecordingClient(self.recorder, self.target.urls, session)
            self.lookout = await self._stack.enter_async_context(
                Lookout(self.target.urls, self.now)
            )
            following = asyncio.create_task(self._follow())
            self._stack.push_async_callback(_ended, following)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    def now(self) -> float:
        """Seconds since the lab was opened: the one clock of everything that is recorded."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Tell the learner what happens."""
        told = Told(self.now(), text)
        self.story.append(told)
        self.narrate(told)

    def expect(self, expected: str, observed: object, *, is_met: bool) -> None:
        """Set what was expected beside what was seen."""
        self.expectations.append(Expectation(expected, str(observed), is_met))
        self.say(f"{'as expected' if is_met else 'NOT as expected'}: {expected}; seen: {observed}")

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
        asked = {"id": new_id(), "type": "noop", "data": None, "queue": "default", "priority": 4}
        asked |= task
        return await self.client.ask(process, "submit", asked, node=node)

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

    @asynccontextmanager
    async def cut(self, name: str, target: str, ways: Iterable[Way]) -> AsyncIterator[None]:
        """Have these ways cut for as long as the context lasts."""
        injected = self.now()
        await self.target.cut(ways)
        self.say(f"{name}: {target}")
        try:
            yield
        finally:
            bites = {"held back": await self.target.held_back()}
            await self.target.mend()
            self._note(name, target, injected, bites)

    @asynccontextmanager
    async def killed(self, name: str) -> AsyncIterator[None]:
        """Have a process dead for as long as the context lasts."""
        injected = self.now()
        await self.target.kill(name)
        self.say(f"SIGKILL: {name}")
        try:
            yield
        finally:
            bites = {"processes ended": int(self.target.has_ended(name))}
            await self.target.revive(name)
            self._note("killed", name, injected, bites)

    @asynccontextmanager
    async def frozen(self, name: str) -> AsyncIterator[None]:
        """Have a process stopped where it stands for as long as the context lasts."""
        injected = self.now()
        await self.target.freeze(name)
        self.say(f"SIGSTOP: {name}")
        try:
            yield
        finally:
            bites = {"processes stopped": int(self.target.is_stopped(name))}
            await self.target.thaw(name)
            self._note("frozen", name, injected, bites)

    def _note(self, name: str, target: str, injected: float, bites: Mapping[str, int]) -> None:
        self.healed = self.now()
        self.faults.append(Fault(name, target, injected, self.healed, bites))
        told = ", ".join(f"{what}: {count}" for what, count in bites.items())
        self.say(f"healed: {name} of {target} ({told})")

    async def expect_deposed(self, leader: str, since: float) -> None:
        """Wait until *leader*, in trouble since then, no longer says that it leads."""
        await self.lookout.until(
            f"{leader} steps down",
            lambda views: (sight := views[leader]) is not None and sight.role != "leader",
        )
        took = self.now() - since
        self.expect(
            f"{leader} steps down within {DEPOSED_SECONDS:g} s",
            f"{took:.2f} s",
            is_met=took <= DEPOSED_SECONDS,
        )

    async def settle(self) -> None:
        """After the last heal: every node serves, what waits is done, and all is looked at once."""
        self.healed = max(self.healed, self.now())
        await self.lookout.until("every node answers", lambda views: None not in views.values())
        for node in self.target.nodes:
            await self._probe(node)
        self.say("every node serves again")
        await self._drain()
        await self._see_events()

    async def _probe(self, node: str) -> None:
        """Write through *node* until ten in a row have succeeded, or the time is up."""
        until = self.now() + DRAIN_SECONDS
        process, in_a_row = Process(f"{PROBE}-{node}"), 0
        while in_a_row < IN_A_ROW and self.now() < until:
            row = await self.submit(process, node)
            in_a_row = in_a_row + 1 if row.type is Type.OK else 0
            if not in_a_row:
                await asyncio.sleep(LOOK_SECONDS)

    async def _drain(self) -> None:
        """Wait until all that may have been submitted has ended, and note how."""
        rows = self.recorder.history()
        # What failed is looked for as well: it must not be there.
        left = {row.task_id for row in rows if row.f == "submit" and row.task_id is not None}
        self.final = {}
        until = self.now() + DRAIN_SECONDS
        process, node = Process(_DRAIN), self.target.nodes[0]
        while True:
            for task_id in sorted(left):
                row = await self.client.ask(process, "task", {"id": task_id}, node=node)
                if row.type is Type.OK:
                    self.final[task_id] = row.value["status"]
                    if row.value["status"] is None or row.value["status"] in FINAL:
                        left.discard(task_id)
            if not left or self.now() > until:
                break
            await asyncio.sleep(LOOK_SECONDS)
        self.say(told_of_the_end(self.final, len(left)))

    async def _see_events(self) -> None:
        """Wait until every transition so far has been read: up to a task that marks the end."""
        process, marker = Process(_MARKER), ""
        while not marker:
            row = await self.submit(process, self.target.nodes[0])
            marker = row.args["id"] if row.type is Type.OK else ""
        async with asyncio.timeout(DRAIN_SECONDS):
            await self.seen(lambda event: event.task_id == marker)
        self.events = [event for event in self.events if event.task_id != marker]

    async def seen(self, is_it: Callable[[Event], bool]) -> Event:
        """Wait for the first event, of all since the beginning, that *is_it*."""
        at = 0
        async with self._arrived:
            while True:
                for event in self.events[at:]:
                    if is_it(event):
                        return event
                at = len(self.events)
                await self._arrived.wait()

    async def _follow(self) -> None:
        """Read every transition from the first on, from whichever node lives."""
        source = EventSource(tuple(self.target.urls.values()), from_oldest=True)
        async for told in source:
            position = positions.check(told["position"]).position
            members = {name: told[name] for name in Event._fields if name in told}
            place = {"offset": position.offset, "time_ms": told["time"]}
            async with self._arrived:
                self.events.append(Event(**(members | place)))
                self._arrived.notify_all()

    def evidence(self) -> Evidence:
        """All that this run has left."""
        rows = [row for row in self.recorder.history() if row.process not in (_DRAIN, _MARKER)]
        return Evidence(
            rows=rows,
            events=self.events,
            sights=self.lookout.sights,
            faults=self.faults,
            final=self.final,
            healed=self.healed,
            nodes=self.target.nodes,
            floor=50,
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def told_of_the_end(final: Mapping[str, str | None], left: int) -> str:
    """How tasks are once all was drained; None in *final* is one that is not there."""
    ended = sum(status in FINAL for status in final.values())
    absent = sum(status is None for status in final.values())
    return f"{ended} tasks have ended, {left} have not; {absent} more were never taken in"
