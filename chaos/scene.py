"""A scene: a running cluster, one clock, and the story of what was seen of it.

The lowest storey of the lab. It injects nothing and asks for nothing: `injecting.py` and `lab.py`
do. Whatever it opened is closed when its context ends, however that comes.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import aiohttp

from chaos import telling
from chaos.checkers.evidence import Fault
from chaos.history import Recorder
from chaos.lookout import Lookout
from chaos.recording import RecordingClient
from chaos.setting import USUAL, Setting
from chaos.targets.contract import Target
from cluster.core.model import Event
from gateway import positions
from gateway.event_source import EventSource

EVENTS_PATIENCE_SECONDS = 300.0  # Whoever breaks every node must be patient with them.
SEEN_SECONDS = 60.0  # For which an event may be waited for.
PAGE_SECONDS = 5.0  # Of patience with a node's own page.


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
class Scene:
    """What is there and what is seen; use it as a context."""

    target: Target
    narrate: Callable[[Told], None] = lambda _told: None
    seed: int = 0
    setting: Setting = USUAL  # What the target was made by.
    recorder: Recorder = field(init=False)
    story: list[Told] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    begun_anew: list[tuple[str, float]] = field(default_factory=list)  # See `Evidence`.
    events: list[Event] = field(default_factory=list)
    healed: float = 0.0  # When the last fault was undone.

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.now)
        self.random = random.Random(self.seed)
        self._began = time.monotonic()
        self._stack = AsyncExitStack()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        try:
            self._stack.push_async_callback(self.target.stop)
            await self.target.start()
            # As many connections as there are clients: none waits in a queue of ours.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = await self._stack.enter_async_context(
                aiohttp.ClientSession(connector=connector)
            )
            self.client = self.client_of(dict(self.target.urls))
            self.lookout = await self._stack.enter_async_context(
                Lookout(self.target.urls, self.now)
            )
            for watching in (self._follow(), self._tell_changes()):
                self._stack.push_async_callback(_ended, asyncio.create_task(watching))
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

    def client_of(self, urls: dict[str, str]) -> RecordingClient:
        """A client that is recorded like any other, and reaches nodes at these addresses."""
        return RecordingClient(self.recorder, urls, self._session)

    async def page(self, node: str, path: str) -> Any:
        """What a node answers on a page of its own, such as `/cluster/log?limit=20`.

        Raises:
            TimeoutError: it answers nothing, or refuses.
        """
        timeout = aiohttp.ClientTimeout(total=PAGE_SECONDS)
        url = self.target.urls[node] + path
        try:
            async with self._session.get(url, timeout=timeout, raise_for_status=True) as answer:
                return json.loads(await answer.read())
        except aiohttp.ClientError as error:
            raise TimeoutError(f"{node} does not answer {path}: {error}") from error

    async def seen(
        self, is_it: Callable[[Event], bool], *, timeout_seconds: float = SEEN_SECONDS
    ) -> Event:
        """Wait for the first event, of all since the beginning, that *is_it*.

        Raises:
            TimeoutError: there was none in time.
        """
        at = 0
        async with asyncio.timeout(timeout_seconds), self._arrived:
            while True:
                for event in self.events[at:]:
                    if is_it(event):
                        return event
                at = len(self.events)
                await self._arrived.wait()

    async def _follow(self) -> None:
        """Read every transition from the first on, from whichever node lives."""
        urls = tuple(self.target.urls.values())
        source = EventSource(urls, from_oldest=True, patience_seconds=EVENTS_PATIENCE_SECONDS)
        async for told in source:
            position = positions.check(told["position"]).position
            members = {name: told[name] for name in Event._fields if name in told}
            place = {"offset": position.offset, "time_ms": told["time"]}
            async with self._arrived:
                self.events.append(Event(**(members | place)))
                self._arrived.notify_all()

    async def _tell_changes(self) -> None:
        """Tell who leads and who hears whom, whenever that is seen to have changed."""
        await self.lookout.until("every node answers", lambda views: None not in views.values())
        before = dict(self.lookout.newest)
        while True:
            after = await self.lookout.look()
            for sentence in telling.changes(before, after):
                self.say(sentence)
            before = dict(after)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
