"""One handler at work on one task: started, asked to stop, and what came of it.

Knows no network: an outcome is a value, and whoever holds the lease reports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node.context import Context, GiveUp
from node.tasks import Handler

ERROR_CHARACTERS_MAX = 10_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or was stopped; *retry* says whether another try could help."""

    error: str
    retry: bool = True


Outcome = Completed | Failed


class Run:
    """A handler's run. An async one is cancelled when asked to stop; a threaded one must look."""

    def __init__(self, handler: Handler[..., Any], context: Context, payload: Any) -> None:
        self.context = context
        self._handler = handler
        self._payload = payload
        self._work: asyncio.Future[Any] | None = None

    def stop(self) -> None:
        """Ask the run to end soon; its outcome still arrives."""
        self.context.cancelled.set()
        if self._work is not None and self._handler.is_async:
            self._work.cancel()

    async def outcome(self) -> Outcome:
        """Run the handler to its end, whatever that is; never raises what the handler raised."""
        try:
            arguments = self._handler.bind(self._payload)
        except GiveUp as error:
            return Failed(_describe(error), retry=False)
        if self.context.is_cancelled:
            return _STOPPED

        self._work = self._begin(arguments)
        try:
            await asyncio.wait([self._work])
        finally:
            self._work.cancel()
        return self._judge(self._work)

    def _begin(self, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        handler, context = self._handler, self.context
        if handler.is_async:
            return asyncio.ensure_future(_contain(handler.function(context, **arguments)))
        return _in_thread(
            lambda: handler.function(context, **arguments), name=f"{handler.name} {context.task_id}"
        )

    def _judge(self, work: asyncio.Future[Any]) -> Outcome:
        if work.cancelled():
            return _STOPPED
        error = work.exception()
        if error is None:
            return Completed(work.result())
        is_final = isinstance(error, GiveUp)
        log.info(
            "task %s of type %s failed in attempt %d",
            self.context.task_id,
            self.context.type,
            self.context.attempt,
            exc_info=None if is_final else error,
        )
        return Failed(_describe(error), retry=not is_final)


_STOPPED = Failed("stopped before it finished")


class HandlerExitedError(Exception):
    """A handler called `sys.exit`: that ends its task, never the worker."""


async def _contain(work: Any) -> Any:
    try:
        return await work
    except SystemExit as error:
        raise HandlerExitedError(f"sys.exit({error.code!r})") from error


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
        except BaseException as raised:  # noqa: BLE001 - whatever it raised is its task's outcome.
            error = raised
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _describe(error: BaseException) -> str:
    """`ValueError: what it said`, or only what it said where the type adds nothing."""
    text = str(error) if isinstance(error, GiveUp) else f"{type(error).__name__}: {error}"
    return text[:ERROR_CHARACTERS_MAX]
