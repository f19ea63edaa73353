"""What comes of a handler's run, however it ends."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from node.context import Context, GiveUp
from node.runs import Completed, Failed, Run
from node.tasks import Handler, task


@task("double")
def double(_context: Context, number: int) -> int:
    return number * 2


@task("double_async")
async def double_async(_context: Context, number: int) -> int:
    return number * 2


@task("broken")
def broken(_context: Context, message: str) -> None:
    raise ValueError(message)


@task("hopeless")
async def hopeless(_context: Context, message: str) -> None:
    raise GiveUp(message)


@task("exits")
def exits(_context: Context, status: int) -> None:
    sys.exit(status)


@task("exits_async")
async def exits_async(_context: Context, status: int) -> None:
    sys.exit(status)


@task("for_ever")
async def for_ever(_context: Context, begun: asyncio.Event) -> None:
    begun.set()
    await asyncio.Event().wait()


@task("until_cancelled")
def until_cancelled(context: Context, begun: threading.Event) -> str:
    begun.set()
    context.cancelled.wait(timeout=10)
    return "what was done so far"


def run_of(handler: Handler[..., Any], payload: Any) -> Run:
    return Run(handler, Context(task_id="a", type=handler.name), payload)


@pytest.mark.parametrize("handler", [double, double_async])
async def test_a_returned_value_is_the_result(handler: Handler[..., Any]) -> None:
    assert await run_of(handler, 21).outcome() == Completed(42)


async def test_an_exception_is_a_failure_worth_another_try() -> None:
    assert await run_of(broken, "no luck").outcome() == Failed("ValueError: no luck", retry=True)


async def test_giving_up_is_a_failure_for_good() -> None:
    assert await run_of(hopeless, "no use").outcome() == Failed("no use", retry=False)


async def test_data_that_does_not_fit_is_a_failure_for_good() -> None:
    @task("pair")
    def pair(_context: Context, left: int, right: int) -> int:
        return left + right

    outcome = await run_of(pair, {"left": 1}).outcome()

    assert outcome == Failed("pair: missing a required argument: 'right'", retry=False)


@pytest.mark.parametrize("handler", [exits, exits_async])
async def test_a_handler_that_exits_ends_its_task_alone(handler: Handler[..., Any]) -> None:
    assert await run_of(handler, 3).outcome() == Failed("HandlerExitedError: sys.exit(3)")


async def test_a_stopped_async_run_is_cancelled() -> None:
    begun = asyncio.Event()
    run = run_of(for_ever, begun)
    outcome = asyncio.create_task(run.outcome())
    await begun.wait()

    run.stop()

    assert await outcome == Failed("stopped before it finished")


async def test_a_stopped_thread_is_told_and_its_work_counts() -> None:
    begun = threading.Event()
    run = run_of(until_cancelled, begun)
    outcome = asyncio.create_task(run.outcome())
    await asyncio.to_thread(begun.wait)

    run.stop()

    assert await outcome == Completed("what was done so far")


async def test_a_run_stopped_before_it_began_never_begins() -> None:
    run = run_of(broken, "must not run")
    run.stop()

    assert await run.outcome() == Failed("stopped before it finished")


async def test_a_blocked_thread_does_not_hold_up_the_loop() -> None:
    begun = threading.Event()
    run = run_of(until_cancelled, begun)
    outcome = asyncio.create_task(run.outcome())
    await asyncio.to_thread(begun.wait)

    assert await run_of(double_async, 4).outcome() == Completed(8)

    run.stop()
    await outcome
