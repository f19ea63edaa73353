"""Doing a schedule: what overruns its time holds up whatever it may not overlap with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from chaos.checkers.evidence import Sight
from chaos.soak.injecting import Injector
from chaos.soak.schedule import Planned, Role
from chaos.targets.contract import BeyondKernel, Unsupported

TIMEOUT_SECONDS = 10.0


@dataclass
class Target:
    """Names alone."""

    nodes: tuple[str, ...] = ("node1", "node2", "node3")
    workers: tuple[str, ...] = ("worker1",)


@dataclass
class Lookout:
    """All follow node1."""

    newest: dict[str, Sight | None] = field(
        default_factory=lambda: {
            name: Sight(0.0, name, "leader" if name == "node1" else "follower", 1, 1, 1, "")
            for name in Target.nodes
        }
    )


@dataclass
class SlowLab:
    """A place where a restart ends only when it is let go, and each deed is written down."""

    target: Target = field(default_factory=Target)
    lookout: Lookout = field(default_factory=Lookout)
    told: list[str] = field(default_factory=list)
    may_restart: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    cannot_unplug: Unsupported | None = None

    def now(self) -> float:
        return time.monotonic()

    async def restart(self, name: str, *, called: str) -> None:
        del called
        self.told.append(f"ends {name}")
        self.has_begun.set()
        await self.may_restart.wait()
        self.told.append(f"starts {name}")

    @asynccontextmanager
    async def all_killed(self) -> AsyncIterator[None]:
        self.told.append("kills all")
        yield
        self.told.append("revives all")

    @asynccontextmanager
    async def unplugged(self, node: str) -> AsyncIterator[None]:
        if self.cannot_unplug is not None:
            raise self.cannot_unplug
        self.told.append(f"unplugs {node}")
        yield


RESTART = Planned(0.0, 0.0, "worker restarted", Role.WORKER, 0.0)
ALL_KILLED = Planned(0.0, 0.0, "all killed", Role.EVERYONE, 0.0)
UNPLUGGED = Planned(0.0, 0.0, "unplugged", Role.LEADER, 0.0)


async def run(lab: SlowLab, *schedule: Planned) -> Injector:
    injector = Injector(lab)  # type: ignore[arg-type]  # The part of a lab that it works with.
    async with asyncio.timeout(TIMEOUT_SECONDS):
        running = asyncio.create_task(injector.run(schedule, began=lab.now()))
        if RESTART in schedule:
            await lab.has_begun.wait()
            for _ in range(10):
                await asyncio.sleep(0)
        lab.may_restart.set()
        await running
    return injector


async def test_what_concerns_all_waits_for_a_restart_that_takes_long() -> None:
    lab = SlowLab()

    await run(lab, RESTART, ALL_KILLED)

    assert lab.told[:3] == ["ends worker1", "starts worker1", "kills all"]


async def test_other_faults_need_not_wait_for_it() -> None:
    lab = SlowLab()

    await run(lab, RESTART, UNPLUGGED)

    assert lab.told == ["ends worker1", "unplugs node1", "starts worker1"]


async def test_faults_of_one_sort_wait_for_each_other() -> None:
    lab = SlowLab()

    injector = await run(lab, RESTART, RESTART)

    assert lab.told == ["ends worker1", "starts worker1"] * 2
    assert injector.done == {"worker restarted": 2}


@pytest.mark.parametrize(("error", "is_withheld"), [(Unsupported, True), (BeyondKernel, False)])
async def test_what_a_target_cannot_do_is_left_out_and_said(
    error: type[Unsupported], is_withheld: bool
) -> None:
    injector = await run(SlowLab(cannot_unplug=error("there are no cables")), UNPLUGGED)

    assert injector.left_out == {"unplugged": "there are no cables"}
    assert injector.withheld == ({"unplugged"} if is_withheld else set())
    assert not injector.done


async def test_the_greatest_pick_is_the_last_of_those_that_could_be_picked() -> None:
    lab = SlowLab()

    await run(lab, UNPLUGGED._replace(role=Role.FOLLOWER, pick=1.0))

    assert lab.told == ["unplugs node3"]


async def test_a_node_that_does_not_answer_yet_is_not_hit() -> None:
    lab = SlowLab()
    lab.lookout.newest["node1"] = None

    await run(lab, UNPLUGGED._replace(role=Role.FOLLOWER))

    assert lab.told == ["unplugs node2"]
