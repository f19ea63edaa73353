"""The portal: who waits in it is told what becomes of the loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from gateway.portal import Portal


async def nothing() -> None: ...


def test_who_waits_while_it_is_closed_is_told_so() -> None:
    begun = threading.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    portal = Portal("portal")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(portal.run, endless())
        begun.wait()
        portal.close(nothing())

        with pytest.raises(RuntimeError, match=r"^the client is closed$"):
            waiting.result(timeout=10)


def test_work_that_cancels_itself_is_no_end_of_the_portal() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    portal = Portal("portal")
    with pytest.raises(CancelledError):
        portal.run(gives_up())

    portal.close(nothing())
