"""Handlers in processes of their own: what comes of them, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from node.context import Context, GiveUp
from node.outcomes import ProcessFailedError
from node.processes import Processes
from node.tasks import task
from node.waiting import wait_until
from tests.node.process_handlers import (
    broken,
    dies,
    exits,
    hangs,
    haunted,
    hopeless,
    remembered,
    tell,
    unspeakable,
    vanishes,
    where,
)


@contextlib.asynccontextmanager
async def processes() -> Any:
    """Processes that end with the test."""
    made = Processes("test")
    try:
        async with asyncio.timeout(30):
            yield made
    finally:
        await made.close()


async def test_a_handler_runs_in_a_process_that_serves_the_next_run_too() -> None:
    async with processes() as pool:
        first = await pool.run(where, Context(), {"_data": None})
        second = await pool.run(where, Context(), {"_data": None})

    assert first == second != os.getpid()


async def test_runs_at_the_same_time_have_a_process_each() -> None:
    async with processes() as pool:
        runs = [pool.run(where, Context(), {"_data": None}) for _ in range(2)]

        assert len(set(await asyncio.gather(*runs))) == 2


async def test_a_process_knows_its_run_and_tells_of_it() -> None:
    told: list[Any] = []
    context = Context(
        task_id="a",
        type="t",
        attempt=2,
        last_checkpoint=[1],
        on_progress=told.append,
        on_checkpoint=told.append,
    )
    async with processes() as pool:
        result = await pool.run(tell, context, {"steps": 2})

    assert (result, told) == (["a", "t", 2, [1]], [0, 1, {"row": 2}])


async def test_what_is_left_of_an_earlier_run_says_nothing_of_the_next() -> None:
    told: list[Any] = []
    async with processes() as pool:
        await pool.run(remembered, Context(lease_token=1), {"_data": None})
        context = Context(lease_token=2, on_progress=told.append, on_checkpoint=told.append)
        await pool.run(haunted, context, {"_data": None})

    assert told == ["of this run"]


@pytest.mark.parametrize(
    ("handler", "argument", "error"),
    [
        (broken, "no luck", ProcessFailedError("ValueError: no luck")),
        (hopeless, "no use", GiveUp("no use")),
        (exits, 3, ProcessFailedError("HandlerExitedError: sys.exit(3)")),
        (dies, 9, ProcessFailedError("its process was killed by SIGKILL")),
        (dies, 11, ProcessFailedError("its process was killed by SIGSEGV")),
        (
            vanishes,
            3,
            ProcessFailedError("its process ended with status 3 before the handler did"),
        ),
    ],
)
async def test_however_a_handler_fails_the_next_run_is_served(
    handler: Any, argument: Any, error: Exception
) -> None:
    async with processes() as pool:
        with pytest.raises(type(error)) as raised:
            await pool.run(handler, Context(), {handler.parameters[0].name: argument})
        assert await pool.run(where, Context(), {"_data": None}) != os.getpid()

    assert str(raised.value) == str(error)


async def test_a_process_outlives_what_its_handler_raised() -> None:
    async with processes() as pool:
        before = await pool.run(where, Context(), {"_data": None})
        with pytest.raises(ProcessFailedError):
            await pool.run(broken, Context(), {"message": ""})

        assert await pool.run(where, Context(), {"_data": None}) == before


async def test_a_result_that_cannot_be_told_is_given_up() -> None:
    async with processes() as pool:
        with pytest.raises(GiveUp, match=r"the result cannot be reported: .*object"):
            await pool.run(unspeakable, Context(), {"_data": None})


async def test_a_cancelled_run_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    path = tmp_path / "pids"

    async def begun() -> list[int]:
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    async with processes() as pool:
        running = asyncio.create_task(pool.run(hangs, Context(), {"path": str(path)}))
        pids = await wait_until(begun, what="the handler to hang", timeout_seconds=20)

        running.cancel()
        await asyncio.wait([running])

    async def gone() -> bool:
        return not any(map(_is_running, pids))

    assert running.cancelled()
    assert len(pids) == 2
    await wait_until(gone, what=f"processes {pids} to be gone", timeout_seconds=5)


async def test_a_handler_of_the_program_s_own_file_is_given_up() -> None:
    @task("own")
    def own(_context: Context, _data: Any) -> None: ...

    own.function.__module__ = "__main__"
    async with processes() as pool:
        with pytest.raises(GiveUp, match="put it into a module"):
            await pool.run(own, Context(), {"_data": None})


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
