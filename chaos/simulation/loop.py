"""An asyncio loop for one simulated process. All loops of a world share its clock.

Killing a process is nothing more than never running its loop again: nothing is cancelled, no
`finally` runs, as with SIGKILL. Only one that dies amid its own code must leave it: `Died` unwinds
that stack, and by then neither its sockets nor its disk take anything. Work given to an executor
happens at one virtual moment, after a while; a process that is killed before it never did it.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from chaos.simulation.world import Died, Event, World

T = TypeVar("T")

RESOLVE_SECONDS = 0.001
WORK_SECONDS = 0.001
TASKS_KEPT = 1_000
UNBEGUN = inspect.CORO_CREATED


class Sockets(Protocol):
    """What a process reaches the others by: the simulated network."""

    def listen(self, process: SimulatedLoop, factory: Any, port: int) -> asyncio.Server:
        """Take connections to *port* of this process's machine.

        Raises:
            OSError: the port is taken.
        """

    async def dial(
        self, process: SimulatedLoop, factory: Any, host: str, port: int
    ) -> tuple[asyncio.Transport, Any]:
        """A transport and its protocol, once the other side has answered.

        Raises:
            ConnectionRefusedError: nobody listens there.
        """


class SimulatedLoop:
    """The loop of one process, running on the machine *host*.

    To asyncio it is an `AbstractEventLoop`: of those methods it has the ones that are used.
    """

    def __init__(
        self,
        world: World,
        host: str,
        *,
        sockets: Sockets | None = None,
        work_seconds: Callable[[], float] = lambda: WORK_SECONDS,
        on_error: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.world = world
        self.host = host
        self.as_asyncio = cast("asyncio.AbstractEventLoop", self)
        self.can_run = True
        self.is_dead = False
        self.working: dict[Event, Callable[..., object]] = {}  # In an executor, not done yet.
        self._busy_until: dict[int, float] = {}  # By the executor's identity, never iterated.
        self._sockets = sockets
        self._work_seconds = work_seconds
        self._on_error = on_error
        self._postponed: list[Event] = []
        # The tasks of a dead process are kept: collecting them would run their `finally` blocks.
        self._tasks: list[asyncio.Task[Any]] = []
        world.processes.append(self)

    def __repr__(self) -> str:
        state = "dead" if self.is_dead else "running" if self.can_run else "paused"
        return f"<SimulatedLoop of {self.host}, {state}>"

    # Life and death.

    def kill(self) -> None:
        """End the process: nothing of it runs again."""
        self.is_dead = True
        self.can_run = False
        self._postponed.clear()
        for task in self._tasks:
            _close_unbegun(task.get_coro())

    def pause(self) -> None:
        """Stop the process as SIGSTOP does; its sockets go on taking in."""
        self.can_run = False

    def resume(self) -> None:
        """Let it go on. As after a real stall, what came in is seen before what fell due."""
        if self.is_dead or self.can_run:
            return
        self.can_run = True
        postponed, self._postponed = self._postponed, []
        for event in sorted(postponed, key=lambda event: event.is_timer):
            self.world.push(self.world.now, event)

    def postpone(self, event: Event) -> None:
        """Keep an event that fell due while the process stood still; a dead one forgets it."""
        if not self.is_dead:
            self._postponed.append(event)

    # Time and calls: what asyncio asks of a loop.

    def time(self) -> float:
        return self.world.read_clock()

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        event = Event(self, callback, args, context)
        if not self.is_dead:
            self.world.push(self.world.now, event)
        return event

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        event = Event(self, callback, args, context)
        event.is_timer = True
        event.moment = when
        if not self.is_dead:
            self.world.push(when, event)
        return event

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self.as_asyncio)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(
            coro, loop=self.as_asyncio, name=name, context=context
        )
        if self.is_dead:
            _close_unbegun(coro)
        if len(self._tasks) >= TASKS_KEPT:
            self.sweep_tasks()
        self._tasks.append(task)
        return task

    def sweep_tasks(self) -> None:
        """Let finished tasks go, and tell of those whose exception nobody took.

        asyncio would tell when they are collected; here they must be kept until then.
        """
        done = [task for task in self._tasks if task.done()]
        self._tasks = [task for task in self._tasks if not task.done()]
        for task in done:
            if getattr(task, "_log_traceback", False):
                error = task.exception()
                self.call_exception_handler({"message": "a task failed", "exception": error})

    def run_in_executor(
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call *func* at a later virtual moment; one executor's calls happen one at a time."""
        future: asyncio.Future[T] = self.create_future()
        event = Event(None, self._work, (), None)
        event.given = (event, future, func, args)
        self.working[event] = partial(func, *args)
        done_at = max(self.world.now, self._busy_until.get(id(executor), 0.0))
        done_at += self._work_seconds()
        if executor is not None:
            self._busy_until[id(executor)] = done_at
        self.world.push(done_at, event)
        return future

    def _work(
        self, event: Event, future: asyncio.Future[T], func: Callable[..., T], args: Any
    ) -> None:
        """The executor's thread: it works on while the loop is paused, and dies with it."""
        if self.working.pop(event, None) is None or self.is_dead:
            return
        self.world.acting = self
        try:
            result = func(*args)
        except Died:
            return
        except Exception as error:  # noqa: BLE001 - it is the future's to tell.
            self.call_soon(_fail, future, error)
        else:
            self.call_soon(_succeed, future, result)

    # Sockets.

    async def create_server(
        self, protocol_factory: Any, _host: str, port: int, **_: Any
    ) -> asyncio.Server:
        assert self._sockets is not None, f"{self.host} has no network"
        return self._sockets.listen(self, protocol_factory, port)

    async def create_connection(
        self, protocol_factory: Any, host: str, port: int, **_: Any
    ) -> tuple[asyncio.Transport, Any]:
        assert self._sockets is not None, f"{self.host} has no network"
        return await self._sockets.dial(self, protocol_factory, host, port)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        await asyncio.sleep(RESOLVE_SECONDS)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]

    # The rest of what asyncio asks.

    def is_running(self) -> bool:
        return self.can_run

    def is_closed(self) -> bool:
        return self.is_dead

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead and self._on_error is not None:
            self._on_error(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin the process with *main*; it runs when the world does."""
        return self.create_task(main)


def _close_unbegun(coroutine: object) -> None:
    """Have Python not miss what will never begin; none of its code runs."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == UNBEGUN:
        coroutine.close()


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
