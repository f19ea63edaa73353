"""The collector of a node's process, on the real one."""

from __future__ import annotations

import asyncio
import gc
import weakref

from node.collector import OLD_MAX, YOUNG_MIN, tidied

PATIENCE_SECONDS = 20.0


class Ring:
    """Refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


async def test_young_cycles_are_freed() -> None:
    gone = asyncio.Event()
    with tidied():
        ring = Ring()
        weakref.finalize(ring, gone.set)
        del ring
        kept = [[number] for number in range(YOUNG_MIN)]

        async with asyncio.timeout(PATIENCE_SECONDS):
            await gone.wait()

    assert len(kept) == YOUNG_MIN


async def test_cycles_that_were_in_use_when_young_are_freed_before_the_rest_is_frozen() -> None:
    gone, looked = asyncio.Event(), asyncio.Event()

    def looks(phase: str, _info: dict[str, int]) -> None:
        if phase == "stop":
            looked.set()

    with tidied():
        gc.callbacks.append(looks)
        ring = Ring()
        weakref.finalize(ring, gone.set)
        kept = [[number] for number in range(YOUNG_MIN)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await looked.wait()
        gc.callbacks.remove(looks)
        del ring
        kept += [[number] for number in range(OLD_MAX)]

        async with asyncio.timeout(PATIENCE_SECONDS):
            await gone.wait()

    assert kept


async def test_what_stays_is_frozen_and_thawed_at_the_end() -> None:
    with tidied():
        before = gc.get_freeze_count()
        kept = [[number] for number in range(2 * OLD_MAX)]

        async with asyncio.timeout(PATIENCE_SECONDS):
            while gc.get_freeze_count() < before + len(kept):  # noqa: ASYNC110 - it tells nobody.
                await asyncio.sleep(0.01)
        assert not gc.isenabled()

    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
