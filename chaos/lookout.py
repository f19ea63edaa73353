"""A lookout: asks every node for its own view of the cluster, again and again, and writes it down.

What was seen is evidence for the checkers, and what an experiment waits for and tells about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from chaos.checkers.evidence import Sight

INTERVAL_SECONDS = 0.1
ANSWER_SECONDS = 1.0  # A node's own page asks nobody else: whoever takes longer is not well.
HEARD_SECONDS = 1.0  # Links ping twice a second.

Views = Mapping[str, Sight | None]


class Lookout:
    """Every node's newest view, and all that were seen; use it as a context."""

    def __init__(self, urls: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._urls = urls
        self._clock = clock
        self._watching: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self.newest: dict[str, Sight | None] = dict.fromkeys(urls)
        self.sights: list[Sight] = []
        self.silences: Counter[str] = Counter()  # How often each node was asked in vain.

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        self._watching = [asyncio.create_task(self._watch(*each)) for each in self._urls.items()]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self._session.close()

    async def until(
        self, what: str, holds: Callable[[Views], bool], *, timeout_seconds: float = 30.0
    ) -> None:
        """Wait until *holds* is true of what each node said last; None of one that is silent.

        Raises:
            TimeoutError: it was not in time; says *what* and what was seen instead.
        """
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: holds(self.newest))
        except TimeoutError:
            seen = ", ".join(f"{name}: {_told(sight)}" for name, sight in self.newest.items())
            raise TimeoutError(f"not in {timeout_seconds:g} s: {what} ({seen})") from None

    async def look(self) -> Views:
        """Wait until any node was asked again, and return what each said last."""
        async with self._changed:
            await self._changed.wait()
        return dict(self.newest)

    async def leader(self, among: set[str] | None = None) -> str:
        """Wait until one of *among*, by default of all, leads the newest term that is known."""
        await self.until("one leads", lambda views: leader_of(views, among) is not None)
        name = leader_of(self.newest, among)
        assert name is not None, "nothing ran since it was found"
        return name

    async def _watch(self, name: str, url: str) -> None:
        while True:
            sight = None
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError, KeyError):
                sight = await self._look(name, url)
            async with self._changed:
                self.newest[name] = sight
                if sight is not None:
                    self.sights.append(sight)
                else:
                    self.silences[name] += 1
                self._changed.notify_all()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _look(self, name: str, url: str) -> Sight:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with self._session.get(f"{url}/cluster", timeout=timeout) as answer:
            view: dict[str, Any] = json.loads(await answer.read())
        return Sight(
            self._clock(),
            name,
            view["role"],
            view["term"],
            view["commit_index"],
            view["applied_index"],
            view["state_hash"],
            _heard(name, view["members"]),
        )


def leader_of(views: Views, among: set[str] | None = None) -> str | None:
    """Who leads the newest term that anyone of *among* has told of, if anyone does."""
    told = [
        sight
        for name, sight in views.items()
        if sight is not None and (among is None or name in among)
    ]
    newest = max((sight.term for sight in told), default=0)
    leaders = [sight.node for sight in told if sight.role == "leader" and sight.term == newest]
    return leaders[0] if leaders else None


def _heard(node: str, members: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(
        str(member["id"])
        for member in members
        if member["id"] != node
        and member["last_contact"] is not None
        and member["last_contact"] <= HEARD_SECONDS
    )


def _told(sight: Sight | None) -> str:
    return "silent" if sight is None else f"{sight.role} of term {sight.term}"
