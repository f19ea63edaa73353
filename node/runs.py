"""One handler at work on one task: started, asked to stop, and what came of it.

Knows no network: an outcome is a value, and whoever holds the lease reports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from node.context import Context, GiveUp
from node.outcomes import (
    STOPPED,
    Completed,
    HandlerExitedError,
    Outcome,
    ProcessFailedError,
    failure,
    unspeakable,
)
from node.processes import Processes
from node.progress import Progress
from node.tasks import Handler
from node.values import kept

END_SECONDS = 3.0  # For what a handler does to end well when its worker ends.

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told, on the worker's loop, what a run says."""

    def on_progress(self, token: int, value: Any) -> None:
        """The run of this lease is so far; *value* is what the cluster is to keep."""

    def on_outcome(self, token: int, outcome: Outcome) -> None:
        """The run of this lease is over."""


class Run:
    """A run. Asked to stop, an async handler is cancelled, a process killed, a thread told."""

    def __init__(
        self,
        handler: Handler[..., Any],
        lease: Mapping[str, Any],
        *,
        processes: Processes,
        listener: Listener,
    ) -> None:
        self._handler = handler
        self._payload = lease["data"]
        self._processes = processes
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._progress = Progress.read(lease["progress"])
        self._work: asyncio.Future[Any] | None = None
        self.context = Context(
            task_id=lease["id"],
            type=lease["type"],
            queue=lease["queue"],
            attempt=lease["attempt"],
            lease_token=lease["lease_token"],
            meta=lease["meta"],
            traceparent=lease["traceparent"],
            last_checkpoint=self._progress.checkpoint,
            on_progress=self._on_progress,
            on_checkpoint=self._on_checkpoint,
        )

    def start(self) -> None:
        """Run the handler to its end, whatever that is: the listener is told of it."""
        if self.context.is_cancelled:
            self._listener.on_outcome(self.context.lease_token, STOPPED)
            return
        try:
            arguments = self._handler.bind(self._payload)
        except GiveUp as error:
            self._listener.on_outcome(self.context.lease_token, failure(error))
            return
        self._work = self._begin(arguments)
        self._work.add_done_callback(self._on_end)

    def stop(self) -> None:
        """Ask the run to end soon; its outcome still arrives.

        It is asked once, whatever else is a reason to stop later, be it the loss of its lease: a
        second cancellation would interrupt what the handler does to end well.
        """
        if self.context.is_cancelled:
            return
        self.context.cancelled.set()
        if self._work is not None and (self._handler.is_async or self._handler.in_process):
            self._work.cancel()

    async def abandon(self) -> None:
        """Stop it, and wait until nothing of it is left but a thread, which ends by itself.

        Bounded: an async handler that goes on for `END_SECONDS` is broken off where it awaits.
        """
        self.stop()
        if isinstance(self._work, asyncio.Task):
            await self._end(self._work)
        elif self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _end(self, work: asyncio.Task[Any]) -> None:
        _, unended = await asyncio.wait([work], timeout=END_SECONDS)
        if not unended:
            return
        log.warning("task %s goes on when it is to stop, and is broken off", self.context.task_id)
        # Cancelled again, it might go on again: and its loop's end would wait for it.
        with contextlib.suppress(Exception):  # Whatever it raises, its lease is another's by now.
            work.get_coro().close()
        work.cancel()
        await asyncio.wait([work], timeout=END_SECONDS)

    def _begin(self, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        handler, context = self._handler, self.context
        if handler.in_process:
            return self._loop.create_task(self._processes.run(handler, context, arguments))
        if handler.is_async:
            return self._loop.create_task(_contain(handler.function(context, **arguments)))
        return _in_thread(
            lambda: handler.function(context, **arguments), name=f"{handler.name} {context.task_id}"
        )

    def _on_end(self, work: asyncio.Future[Any]) -> None:
        self._listener.on_outcome(self.context.lease_token, self._judge(work))

    def _judge(self, work: asyncio.Future[Any]) -> Outcome:
        if work.cancelled():
            return STOPPED
        error = work.exception()
        if error is None:
            return _completed(work.result())
        log.info(
            "task %s of type %s failed in attempt %d",
            self.context.task_id,
            self.context.type,
            self.context.attempt,
            # A process has logged its own.
            exc_info=None if isinstance(error, GiveUp | ProcessFailedError) else error,
        )
        return failure(error)

    def _on_progress(self, value: Any) -> None:
        self._tell(shown=kept(value))

    def _on_checkpoint(self, value: Any) -> None:
        self._tell(checkpoint=kept(value))

    def _tell(self, **said: Any) -> None:
        with _TELLING:  # A handler may have several threads.
            self._progress = replace(self._progress, **said)
            value = self._progress.written()
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                self._loop.call_soon_threadsafe(
                    self._listener.on_progress, self.context.lease_token, value
                )


_TELLING = threading.Lock()  # One for all runs: it is held for a moment, and seldom.


def _completed(result: Any) -> Outcome:
    try:
        return Completed(kept(result))
    except (TypeError, ValueError, OverflowError) as error:
        return unspeakable(error)


async def _contain(work: Any) -> Any:
    try:
        return await work
    except SystemExit as error:
        raise HandlerExitedError(f"sys.exit({error.code!r})") from error
    except KeyboardInterrupt as error:  # The loop would end with it.
        raise HandlerExitedError("KeyboardInterrupt") from error


def _in_thread(work: Callable[[], Any], *, name: str) -> asyncio.Future[Any]:
    """Run *work* on a thread of its own: one that hangs holds up neither others nor our exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    variables = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = variables.run(work)
        except SystemExit as exit_error:
            error = HandlerExitedError(f"sys.exit({exit_error.code!r})")
        except StopIteration as raised:  # A future takes none: told as a coroutine's is (PEP 479).
            error = RuntimeError(f"handler raised {raised!r}").with_traceback(raised.__traceback__)
        except BaseException as raised:  # noqa: BLE001 - whatever it raised is its task's outcome.
            error = raised
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
