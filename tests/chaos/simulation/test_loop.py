"""The simulated loop: asyncio code runs on it in virtual time, and dies without a word."""

from __future__ import annotations

import asyncio
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any

import pytest

from chaos.simulation.loop import SimulatedLoop
from chaos.simulation.world import Died, World


@pytest.fixture
def world() -> World:
    return World()


def test_a_sleep_takes_virtual_time_only(world: World) -> None:
    woken: list[float] = []

    async def main() -> None:
        await asyncio.sleep(3_600)
        woken.append(world.now)

    SimulatedLoop(world, "here").start(main())
    world.run(4_000)

    assert woken == [pytest.approx(3_600, abs=0.01)]


def test_every_look_at_the_clock_moves_it(world: World) -> None:
    loop = SimulatedLoop(world, "here")

    assert loop.time() < loop.time()


def test_a_timeout_ends_what_takes_too_long(world: World) -> None:
    ended: list[float] = []

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.get_running_loop().create_future()
        ended.append(world.now)

    SimulatedLoop(world, "here").start(main())
    world.run(10)

    assert ended == [pytest.approx(2, abs=0.01)]


def test_a_killed_process_runs_no_finally(world: World) -> None:
    ran: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            ran.append("finally")

    loop = SimulatedLoop(world, "here")
    loop.start(main())
    world.run(1)
    loop.kill()
    world.run(10)

    assert ran == []


def test_what_a_killed_process_had_not_begun_is_not_missed(world: World) -> None:
    async def never() -> None:
        raise AssertionError

    loop = SimulatedLoop(world, "here")
    before = never()
    loop.start(before)
    loop.kill()
    after = never()
    loop.create_task(after)
    world.run(1)

    assert [getcoroutinestate(each) for each in (before, after)] == [CORO_CLOSED] * 2


def test_a_process_that_dies_in_its_own_code_goes_no_further(world: World) -> None:
    ran: list[str] = []
    loop = SimulatedLoop(world, "here")

    def die() -> None:
        loop.kill()
        raise Died

    async def main() -> None:
        loop.call_soon(ran.append, "later")
        die()
        ran.append("after")

    loop.call_soon(die)
    SimulatedLoop(world, "there").call_later(0.5, ran.append, "elsewhere")
    loop.start(main())
    world.run(1)

    assert ran == ["elsewhere"]


def test_a_process_that_dies_in_its_executor_takes_the_loop_with_it(world: World) -> None:
    ran: list[str] = []
    loop = SimulatedLoop(world, "here")

    def work() -> None:
        assert world.acting is loop
        loop.kill()
        raise Died

    async def main() -> None:
        await loop.run_in_executor(None, work)
        ran.append("after")

    loop.start(main())
    world.run(1)

    assert loop.is_dead
    assert ran == []


def test_work_of_a_process_killed_before_it_was_never_done(world: World) -> None:
    done: list[str] = []

    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, done.append, "work")

    loop = SimulatedLoop(world, "here", work_seconds=lambda: 1.0)
    loop.start(main())
    world.run(0.5)
    loop.kill()
    world.run(10)

    assert done == []


def test_one_executor_does_one_thing_at_a_time_in_order(world: World) -> None:
    done: list[int] = []
    lengths = iter([1.0, 0.1, 0.5])
    loop = SimulatedLoop(world, "here", work_seconds=lambda: next(lengths))
    thread = object()

    async def main() -> None:
        for number in range(3):
            loop.run_in_executor(thread, done.append, number)

    loop.start(main())
    world.run(10)

    assert done == [0, 1, 2]


def test_after_a_pause_what_came_in_is_seen_before_what_fell_due(world: World) -> None:
    seen: list[str] = []
    loop = SimulatedLoop(world, "here")
    loop.call_later(1.0, seen.append, "timer")
    world.at(2.0, lambda: loop.call_soon(seen.append, "message"))
    world.at(0.5, loop.pause)
    world.at(3.0, loop.resume)

    world.run(10)

    assert seen == ["message", "timer"]


def test_a_task_that_failed_unseen_is_told_of(world: World) -> None:
    told: list[Any] = []

    async def main() -> None:
        raise ValueError("nobody looks")

    loop = SimulatedLoop(world, "here", on_error=told.append)
    loop.start(main())
    world.run(1)
    loop.sweep_tasks()

    assert str(told[0]["exception"]) == "nobody looks"


def test_what_was_recorded_otherwise_gives_another_hash() -> None:
    first, second = World(), World()
    first.record(b"leads", b"node1")
    second.record(b"leads", b"node2")

    assert first.trace_hash != second.trace_hash
