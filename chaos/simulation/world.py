"""Virtual time: everything that will happen, in order, on one heap.

An event belongs to a process (a `SimulatedLoop`) or to the world itself. Those of a dead process
never happen; those of a paused one happen when it goes on. Times are seconds since the beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from hashlib import blake2b
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos.simulation.loop import SimulatedLoop

READ_SECONDS = 1e-5  # How far each look at the clock moves it: some loops run until it has moved.


class Died(BaseException):
    """The process is gone in the middle of what it did; the product never sees it handled."""


class Event(asyncio.TimerHandle):
    """Something to be called at a moment, unless it is cancelled first."""

    __slots__ = ("call", "given", "is_timer", "moment", "process", "scope")

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self,
        process: SimulatedLoop | None,
        call: Callable[..., object],
        given: tuple[Any, ...],
        scope: Context | None,
    ) -> None:
        # The base's own constructor is left out on purpose: millions of these are made.
        self.process = process
        self.call: Callable[..., object] | None = call
        self.given = given
        self.scope = scope
        self.is_timer = False
        self.moment = 0.0

    def when(self) -> float:
        return self.moment

    def cancel(self) -> None:
        self.call = None
        self.given = ()

    def cancelled(self) -> bool:
        return self.call is None

    def __repr__(self) -> str:
        return f"<Event {self.call} of {self.process}>"


class World:
    """The clock, what is yet to happen, and a running hash over what did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.processes: list[SimulatedLoop] = []  # All that ever were.
        self.acting: SimulatedLoop | None = None  # Whose code runs now; None is the world's own.
        self._heap: list[tuple[float, int, Event]] = []
        self._count = 0
        self._is_halted = False
        self._hash = blake2b(digest_size=16)

    def at(self, when: float, call: Callable[..., object], *given: Any) -> Event:
        """Have the world itself call *call* at *when*."""
        event = Event(None, call, given, None)
        self.push(when, event)
        return event

    def after(self, seconds: float, call: Callable[..., object], *given: Any) -> Event:
        """Have the world itself call *call* in *seconds*."""
        return self.at(self.now + seconds, call, *given)

    def push(self, when: float, event: Event) -> None:
        """Add *event*; of several at one moment the first one added happens first."""
        self._count += 1
        heappush(self._heap, (when, self._count, event))

    def read_clock(self) -> float:
        """The time, which is a little later at every look."""
        self.now += READ_SECONDS
        return self.now

    def halt(self) -> None:
        """End the run in hand after the event in hand."""
        self._is_halted = True

    @property
    def is_halted(self) -> bool:
        return self._is_halted

    def run(self, until: float) -> None:
        """Let everything happen that is due up to *until*."""
        heap = self._heap
        outside = asyncio._get_running_loop()
        inside: SimulatedLoop | None = None
        asyncio._set_running_loop(None)
        try:
            while heap and heap[0][0] <= until and not self._is_halted:
                when, _, event = heappop(heap)
                call = event.call
                if call is None:
                    continue
                if when > self.now:
                    self.now = when
                self.acting = process = event.process
                if process is None:
                    call(*event.given)
                    continue
                if not process.can_run:
                    process.postpone(event)
                    continue
                if process is not inside:
                    inside = process
                    asyncio._set_running_loop(process.as_asyncio)
                self.events += 1
                try:
                    if event.scope is None:
                        call(*event.given)
                    else:
                        event.scope.run(call, *event.given)
                except Died:
                    continue  # In a callback of a process that is no more.
                except Exception as error:  # noqa: BLE001 - the loop's handler is told, as in asyncio.
                    process.call_exception_handler(
                        {"message": f"exception in {call!r}", "exception": error}
                    )
        finally:
            asyncio._set_running_loop(outside)
        if not self._is_halted:
            self.now = max(self.now, until)

    def end(self) -> None:
        """Let nothing happen any more."""
        self._heap.clear()
        for process in self.processes:
            process.kill()

    # What happened, as one number.

    def record(self, *facts: bytes) -> None:
        """Make *facts*, and the moment, part of the trace."""
        self._hash.update(b"%.6f" % self.now)
        for fact in facts:
            self._hash.update(fact)

    @property
    def trace_hash(self) -> str:
        """The same for the same seed, on every machine; other if anything went another way."""
        return self._hash.hexdigest()
