"""What comes of a handler's run, however it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sys
import threading
from typing import Any

import msgpack
import pytest

from cluster.core.model import PAYLOAD_BYTES_MAX
from node import runs
from node.context import Context, GiveUp
from node.outcomes import STOPPED, Completed, Failed, Outcome
from node.processes import Processes
from node.runs import Run
from node.tasks import Handler, task
from tests.node import process_handlers


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


class Ear:
    """Hears one run out: what it told meanwhile, and its outcome."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def on_progress(self, _token: int, value: Any) -> None:
        self.told.append(value)

    def on_outcome(self, _token: int, outcome: Outcome) -> None:
        self.outcome.set_result(outcome)


class Begun:
    """A run that was started, or is to be."""

    def __init__(self, handler: Handler[..., Any], payload: Any, progress: Any = None) -> None:
        self.processes = Processes("test")
        self.ear = Ear()
        self.run = Run(
            handler,
            {
                "id": "a",
                "type": handler.name,
                "queue": "default",
                "attempt": 1,
                "lease_token": 7,
                "meta": {},
                "traceparent": None,
                "data": payload,
                "progress": progress,
            },
            processes=self.processes,
            listener=self.ear,
        )

    async def outcome(self) -> Outcome:
        """Start it and wait for its end."""
        self.run.start()
        return await self.ended()

    async def ended(self) -> Outcome:
        """Wait for its end, and for that of its process."""
        async with asyncio.timeout(20):
            try:
                return await self.ear.outcome
            finally:
                await self.processes.close()


def run_of(handler: Handler[..., Any], payload: Any, progress: Any = None) -> Begun:
    return Begun(handler, payload, progress)


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


@task("ends_early")
def ends_early(_context: Context, rows: list[int]) -> int:
    return next(iter(rows))


@task("ends_early_async")
async def ends_early_async(_context: Context, rows: list[int]) -> int:
    return next(iter(rows))


@pytest.mark.parametrize(
    "handler", [ends_early, ends_early_async, process_handlers.ends_early], ids=lambda one: one.name
)
async def test_a_stray_stop_iteration_is_a_failure_as_any_other(
    handler: Handler[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    outcome = await run_of(handler, []).outcome()

    assert isinstance(outcome, Failed)
    assert "StopIteration" in outcome.error
    assert outcome.retry
    assert handler.in_process or "return next(iter(rows))" in caplog.text


async def test_an_error_that_cannot_even_be_told_is_a_failure_as_any_other() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise KeyError("no words")

    @task("mute")
    async def mute(_context: Context, _data: Any) -> None:
        raise Mute

    outcome = await run_of(mute, None).outcome()

    assert outcome == Failed("Mute: telling it raised KeyError")


@pytest.mark.parametrize("handler", [exits, exits_async])
async def test_a_handler_that_exits_ends_its_task_alone(handler: Handler[..., Any]) -> None:
    assert await run_of(handler, 3).outcome() == Failed("HandlerExitedError: sys.exit(3)")


async def test_a_handler_that_raises_what_an_interrupt_does_ends_its_task_alone() -> None:
    @task("interrupted")
    async def interrupted(_context: Context, _data: Any) -> None:
        raise KeyboardInterrupt

    outcome = await run_of(interrupted, None).outcome()

    assert outcome == Failed("HandlerExitedError: KeyboardInterrupt")


async def test_a_stopped_async_run_is_cancelled() -> None:
    begun = asyncio.Event()
    one = run_of(for_ever, begun)
    one.run.start()
    await begun.wait()

    one.run.stop()

    assert await one.ended() == STOPPED


class Careful:
    """A handler that does something to end well, which a test lets it finish."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.is_ending = asyncio.Event()
        self.may_end = asyncio.Event()

        @task("careful")
        async def careful(_context: Context, _data: Any) -> str:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.is_ending.set()
                await self.may_end.wait()
            return "ended well"

        self.handler = careful

    async def stopped(self) -> Begun:
        """A run of it that was asked to stop, and is about to."""
        one = run_of(self.handler, None)
        one.run.start()
        await self.begun.wait()
        one.run.stop()
        await self.is_ending.wait()
        return one


async def test_being_asked_again_to_stop_does_not_interrupt_how_a_handler_ends() -> None:
    careful = Careful()
    one = await careful.stopped()

    one.run.stop()
    careful.may_end.set()

    assert await one.ended() == Completed("ended well")


async def test_a_worker_that_ends_lets_a_handler_end_well() -> None:
    careful = Careful()
    one = await careful.stopped()

    abandoning = asyncio.create_task(one.run.abandon())
    asyncio.get_running_loop().call_soon(careful.may_end.set)
    await abandoning

    assert await one.ended() == Completed("ended well")


async def test_a_handler_that_catches_its_cancellation_does_not_hold_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "END_SECONDS", 0.1)
    cancellations = 0

    @task("deaf")
    async def deaf(_context: Context, begun: asyncio.Event) -> None:
        nonlocal cancellations
        begun.set()
        while cancellations < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    begun = asyncio.Event()
    one = run_of(deaf, begun)
    one.run.start()
    await begun.wait()

    async with asyncio.timeout(5):
        await one.run.abandon()

    assert isinstance(await one.ended(), Failed)
    assert cancellations == 1


async def test_a_stopped_thread_is_told_and_its_work_counts() -> None:
    begun = threading.Event()
    one = run_of(until_cancelled, begun)
    one.run.start()
    await asyncio.to_thread(begun.wait)

    one.run.stop()

    assert await one.ended() == Completed("what was done so far")


async def test_a_run_stopped_before_it_began_never_begins() -> None:
    one = run_of(broken, "must not run")
    one.run.stop()

    assert await one.outcome() == STOPPED


async def test_a_blocked_thread_does_not_hold_up_the_loop() -> None:
    begun = threading.Event()
    one = run_of(until_cancelled, begun)
    one.run.start()
    await asyncio.to_thread(begun.wait)

    assert await run_of(double_async, 4).outcome() == Completed(8)

    one.run.stop()
    await one.ended()


@task("far")
async def far(context: Context, steps: int) -> Any:
    rows: list[int] = []
    for step in range(steps):
        rows.append(step)
        context.progress(rows)
    context.checkpoint(steps)
    context.progress("nearly")
    return context.last_checkpoint


async def test_what_a_run_told_is_as_it_was_then() -> None:
    one = run_of(far, 2)

    await one.outcome()

    assert one.ear.told == [
        [0],
        [0, 1],
        {"progress": [0, 1], "checkpoint": 2},
        {"progress": "nearly", "checkpoint": 2},
    ]


async def test_a_run_is_given_the_checkpoint_of_an_earlier_one_and_keeps_it() -> None:
    one = run_of(far, 1, {"progress": 0.5, "checkpoint": [7]})

    assert await one.outcome() == Completed([7])
    assert one.ear.told[0] == {"progress": [0], "checkpoint": [7]}


@pytest.mark.parametrize("shown", [0.5, {"percent": 3}, {"checkpoint": 1, "more": 2}, None])
async def test_progress_that_was_only_shown_is_no_checkpoint(shown: Any) -> None:
    assert await run_of(far, 0, shown).outcome() == Completed(None)


UNSPEAKABLE = {
    "an object": object(),
    "a set": {1},
    "a number as a key": {1: "a"},
    "no number": math.nan,
    "a number beyond 64 bits": 1 << 70,
    "too deep": json.loads("[" * 64 + "]" * 64),  # What reports it is one level more.
    "half a character": "\ud800",
    "another's type": msgpack.Timestamp(1, 2),
    "too large": bytes(PAYLOAD_BYTES_MAX),
}


@pytest.mark.parametrize("value", UNSPEAKABLE.values(), ids=UNSPEAKABLE)
async def test_a_result_that_the_cluster_would_not_keep_is_a_failure_for_good(value: Any) -> None:
    @task("mumble")
    async def mumble(_context: Context, _data: Any) -> Any:
        return value

    outcome = await run_of(mumble, None).outcome()

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("the result cannot be reported: ")
    assert not outcome.retry


@pytest.mark.parametrize("value", UNSPEAKABLE.values(), ids=UNSPEAKABLE)
async def test_progress_that_the_cluster_would_not_keep_is_the_handler_s_own_error(
    value: Any,
) -> None:
    @task("mumble")
    async def mumble(context: Context, _data: Any) -> str:
        with pytest.raises((TypeError, ValueError, OverflowError)):
            context.progress(value)
        return "went on"

    assert await run_of(mumble, None).outcome() == Completed("went on")


async def test_an_error_with_half_a_character_is_told_with_its_number() -> None:
    assert await run_of(broken, "\ud800").outcome() == Failed("ValueError: \\ud800")
