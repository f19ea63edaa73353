"""The host of a replica that may outlive its program's main thread.

A program ends with `coordinator.start()`, and its threads serve on. From then on the standard
library's thread pools take no more work, so the log is written on a thread that is none of theirs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from cluster.host import RealHost

P = ParamSpec("P")
T = TypeVar("T")


class EnduringHost(RealHost):
    """This computer, for as long as any thread lives."""

    def open_log_thread(self) -> Executor:
        return EnduringThread()


class EnduringThread(Executor):
    """One thread that does what it is given, in order, until it is shut down."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        self._work.put(lambda: _do(done, lambda: work(*arguments, **options)))
        return done

    def shutdown(self, wait: bool = True, **_options: Any) -> None:
        self._work.put(None)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while work := self._work.get():
            work()


def _do(done: Future[T], work: Callable[[], T]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001 - It belongs to who waits for the result.
        done.set_exception(error)
