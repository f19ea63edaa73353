"""Doing what a soak's schedule says: whom each fault hits is settled when its time has come."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from chaos.injecting import NotInjected
from chaos.lab import Lab
from chaos.lookout import leader_of
from chaos.soak.schedule import LANES, Lane, Planned, Role
from chaos.targets.contract import (
    BeyondKernel,
    Unsupported,
    Way,
    alone,
    apart,
    deaf,
    ring_of_majorities,
)

FLAP_SECONDS = 1.0  # A ping is lost in it.
DELAY_SECONDS = 0.15  # Less than an election waits.
BYTES_PER_SECOND = 20_000.0
LOSS = 0.2


class Injector:
    """Injects and heals by schedule. No process is hit twice at once: each fault can bite."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._harmed: set[str] = set()
        self.done: Counter[str] = Counter()
        self.left_out: dict[str, str] = {}  # Kinds that could not be done, and why.
        self.withheld: set[str] = set()  # Of these: what this target could do, but not here.

    async def run(self, schedule: Sequence[Planned], *, began: float) -> None:
        """Do it all; returns once the last fault is healed.

        A fault that takes longer than was planned holds up those that it may not overlap with.
        """
        running: dict[Lane, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            for planned in schedule:
                await asyncio.sleep(began + planned.at - self._lab.now())
                lane = LANES[planned.kind]
                in_the_way = {lane, Lane.ALL} if lane is not Lane.ALL else {*Lane}
                if before := [running[each] for each in in_the_way if each in running]:
                    await asyncio.wait(before)
                running[lane] = group.create_task(self._inject(planned))

    async def _inject(self, planned: Planned) -> None:
        try:
            with self._subjects(planned) as subjects:
                if not subjects:
                    self.left_out[planned.kind] = "nobody was well whom it could have hit"
                    return
                await self._do(planned, subjects)
        except (Unsupported, NotInjected) as error:
            self.left_out[planned.kind] = str(error)
            if isinstance(error, Unsupported) and not isinstance(error, BeyondKernel):
                self.withheld.add(planned.kind)
        else:
            self.done[planned.kind] += 1

    @contextmanager
    def _subjects(self, planned: Planned) -> Iterator[list[str]]:
        """Whom it hits, for as long as the context lasts."""
        chosen = self._choose(planned)
        # What concerns everyone is alone by schedule, or, a ring of ways, leaves each process well.
        harmed = set() if planned.role is Role.EVERYONE else set(chosen)
        self._harmed |= harmed
        try:
            yield chosen
        finally:
            self._harmed -= harmed

    def _choose(self, planned: Planned) -> list[str]:
        nodes, workers = self._lab.target.nodes, self._lab.target.workers
        views = self._lab.lookout.newest
        leader = leader_of(views)
        if planned.role is Role.EVERYONE:
            return [*nodes] if planned.kind == "ring of majorities" else [*nodes, *workers]
        if planned.role is Role.MAJORITY:
            first = _nth(nodes, planned.pick)
            ordered = [first, *(node for node in nodes if node != first)]
            return ordered[: len(nodes) // 2 + 1]
        if planned.role is Role.WORKER:
            well = [name for name in workers if name not in self._harmed]
            return [_nth(well, planned.pick)] if well else []
        # Of one that still starts nothing may be on its way, and the fault might not bite.
        well = [name for name in nodes if name not in self._harmed and views[name] is not None]
        others = [name for name in well if name != leader]
        if planned.role is Role.LEADER and leader in well:
            first = leader
        elif others or well:
            first = _nth(others or well, planned.pick)
        else:
            return []
        if planned.kind != "pair cut":
            return [first]
        seconds = [name for name in well if name != first]
        return [first, _nth(seconds, planned.pick)] if seconds else []

    async def _do(self, planned: Planned, subjects: Sequence[str]) -> None:
        """Inject it, wait, and heal."""
        lab, subject = self._lab, subjects[0]
        match planned.kind.split()[-1]:
            case "restarted":
                await lab.restart(subject, called=planned.kind)
            case "killed" if planned.role is Role.EVERYONE:
                async with lab.all_killed():
                    await asyncio.sleep(planned.seconds)
            case "killed" | "frozen" as what:
                harm = lab.killed if what == "killed" else lab.frozen
                async with AsyncExitStack() as stack:
                    for name in subjects:
                        await stack.enter_async_context(harm(name, called=planned.kind))
                    await asyncio.sleep(planned.seconds)
            case "unplugged":
                async with lab.unplugged(subject):
                    await asyncio.sleep(planned.seconds)
            case _:
                whom = "everyone" if planned.role is Role.EVERYONE else " and ".join(subjects)
                ways = self._ways(planned, subjects)
                async with lab.impaired(planned.kind, whom, self._impair(planned.kind, ways)):
                    await self._wait(planned, ways)

    async def _impair(self, kind: str, ways: Sequence[Way]) -> None:
        target = self._lab.target
        match kind:
            case "ways reset":
                await target.reset(ways)
            case "ways slow":
                await target.slow(ways, DELAY_SECONDS)
            case "ways throttled":
                await target.throttle(ways, BYTES_PER_SECOND)
            case "ways lossy":
                await target.lose(ways, LOSS)
            case _:
                await target.cut(ways)

    async def _wait(self, planned: Planned, ways: Sequence[Way]) -> None:
        """Let it last; what flaps is mended and cut again meanwhile, and in the end it is cut."""
        if planned.kind != "flapping":
            await asyncio.sleep(planned.seconds)
            return
        for _ in range(int(planned.seconds / (2 * FLAP_SECONDS) - 0.5)):
            await asyncio.sleep(FLAP_SECONDS)
            await self._lab.target.mend()
            await asyncio.sleep(FLAP_SECONDS)
            await self._lab.target.cut(ways)
        await asyncio.sleep(FLAP_SECONDS)

    def _ways(self, planned: Planned, subjects: Sequence[str]) -> tuple[Way, ...]:
        nodes, node = self._lab.target.nodes, subjects[0]
        if planned.kind == "ring of majorities":
            return ring_of_majorities(nodes)
        if planned.kind == "deaf":
            return deaf(node, nodes)
        if planned.kind == "mute":
            return tuple((target, source) for source, target in deaf(node, nodes))
        if planned.kind == "pair cut":
            return apart([node], [subjects[1]])
        return alone(node, nodes)


def _nth(names: Sequence[str], share: float) -> str:
    return names[min(int(share * len(names)), len(names) - 1)]
