"""The worker: is given tasks over a connection to any node, runs their handlers, says what came.

Thin: what it holds, asks and must stop is `node.session`'s to say, a run is `node.runs`'s, and the
connection is `node.link`'s. It gives up no task by a clock of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.client_errors import refusal
from gateway.frames import Pushed
from gateway.ids import new_id
from gateway.urls import parse_urls
from node.actions import Action, Ask, Description, Joined, MoveOn, Start, Stop
from node.lifeline import announce
from node.link import Link
from node.loops import stop_signal
from node.outcomes import Failed, Outcome
from node.processes import Processes
from node.pulse import Beat, Pulse
from node.runs import Run
from node.session import Session
from node.tasks import Handler, by_type, queues_of

LEAVE_TIMEOUT_SECONDS = 5.0

log = logging.getLogger(__name__)


def default_name() -> str:
    """How a worker is listed that has no name of its own: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Which nodes a worker goes to, and what it takes on."""

    urls: str | Iterable[str]  # A list, or text with commas.
    name: str = field(default_factory=default_name)
    slots: int = 4  # Tasks at once.
    queues: Sequence[str] | None = None  # None: default, and those that the handlers name.
    tags: Sequence[str] = ()  # What tasks may require.
    drain_seconds: float = 20.0  # How long what runs may take once `stop` was called.


class TaskWorker:
    """Runs tasks of the types that it has handlers for, as many at once as it has slots."""

    def __init__(self, handlers: Iterable[Handler[..., Any]], settings: WorkerSettings) -> None:
        """Make a worker, which takes its first task once it is `run`.

        Raises:
            ConfigurationError: no URL can be used, or two handlers claim one type.
        """
        self._handlers = by_type(handlers)
        self._settings = settings
        self._urls = parse_urls(settings.urls)
        queues = queues_of(self._handlers) if settings.queues is None else settings.queues
        self._session = Session(
            Description(
                name=settings.name,
                slots=settings.slots,
                queues=tuple(queues),
                types=tuple(sorted(self._handlers)),
                tags=tuple(settings.tags),
            ),
            new_id,
        )
        self._link = Link(self._urls, name=settings.name, listener=self)
        self._processes = Processes(settings.name)
        self._pulse: Pulse | None = None
        self._runs: dict[int, Run] = {}  # Lease token -> its run, until it has stopped.
        self._changed = asyncio.Event()
        self._has_joined = False

    def stop(self) -> None:
        """Take nothing more, let what runs finish within the drain time, leave."""
        self._session.drain()
        self._act()

    async def joined(self) -> None:
        """Wait until the cluster has taken this worker; `run` says if it will not."""
        await self._until(lambda: self._has_joined)

    async def run_until_signal(self) -> int:
        """Run until SIGTERM or SIGINT, and return the exit status."""
        asked = asyncio.create_task(stop_signal().wait())
        asked.add_done_callback(lambda _asked: self.stop())
        try:
            await self.run()
        finally:
            asked.cancel()
        return 0

    async def run(self) -> None:
        """Serve until `stop`, or until the cluster asks this worker to drain.

        Cancelled, it stops what runs, hands it back and leaves, if a node answers in time.

        Raises:
            RequestRefused: the cluster does not take this worker as it describes itself.
        """
        async with Pulse(self._urls, self._session, self) as self._pulse:
            linking = asyncio.create_task(self._link.run())
            serving = asyncio.create_task(self._serve())
            try:
                await asyncio.wait((linking, serving), return_when=asyncio.FIRST_COMPLETED)
                await (serving if serving.done() else linking)
            except asyncio.CancelledError:
                serving.cancel()
                self._session.give_up()
                await self._leave()
                raise
            finally:
                for task in (linking, serving):
                    task.cancel()
                await asyncio.gather(linking, serving, return_exceptions=True)
                await asyncio.gather(*(run.abandon() for run in list(self._runs.values())))
                await self._processes.close()

    async def _serve(self) -> None:
        session = self._session
        await self._until(lambda: session.is_draining or session.refused is not None)
        if session.refused is not None:
            raise refusal(*session.refused)
        await self._drain()

    async def _drain(self) -> None:
        """Let what runs finish, bounded; then go, which hands the rest back."""
        session = self._session
        if not session.is_idle:
            log.info("waiting up to %g s for running tasks", self._settings.drain_seconds)
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._until(lambda: session.is_idle or session.has_left)
        except TimeoutError:
            left = session.give_up()
            log.warning("handing back what did not finish in time, tasks: %d", len(left))
        await self._leave()

    async def _leave(self) -> None:
        """Say good-bye, as the session wants to by now, and see that it is heard; bounded."""
        session = self._session
        self._act()
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                await self._until(lambda: session.has_left)
        except TimeoutError:
            log.warning(
                "could not say good-bye, the lease will run out: no node answered in %g s",
                LEAVE_TIMEOUT_SECONDS,
            )
        else:
            log.info("left")

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._changed.clear()
            await self._changed.wait()

    # What the link says.

    def on_open(self, url: str) -> None:
        """A connection to a node is there."""
        if self._pulse is not None:
            self._pulse.url = url
        self._session.connected()
        self._act()

    def on_closed(self) -> None:
        """It is there no more; another one follows."""
        self._session.disconnected()

    def on_pushed(self, pushed: Pushed) -> None:
        """The node says something unasked."""
        self._session.pushed(pushed.kind, pushed.content)
        self._act()

    def on_answer(self, ask: Ask, status: int, value: Mapping[str, Any]) -> None:
        """A call was answered."""
        self._session.answered(ask, status, value)
        self._act()

    # What the pulse says.

    def on_orders(self, worker_id: str, orders: Mapping[str, Any]) -> None:
        """A heartbeat brought orders."""
        if worker_id == self._session.worker_id:
            self._session.ordered(orders)
            self._act()

    def on_session_over(self, worker_id: str) -> None:
        """A heartbeat was told that the session has ended."""
        self._session.ended(worker_id)
        self._act()

    def on_silence(self, url: str) -> None:
        """A node took no heartbeat: no good place to be connected to."""
        self._link.leave(url, "it takes no heartbeats")

    # What the runs say.

    def on_progress(self, token: int, value: Any) -> None:
        """A run says how far it is."""
        self._session.progressed(token, value)
        self._act()

    def on_outcome(self, token: int, outcome: Outcome) -> None:
        """A run is over."""
        self._runs.pop(token, None)
        self._session.finished(token, outcome)
        self._act()

    def _act(self) -> None:
        """Do what the session wants done."""
        session = self._session
        while session.actions:
            for action in session.take_actions():
                self._do(action)
        self._changed.set()

    def _do(self, action: Action) -> None:
        match action:
            case Ask():
                self._link.ask(action)
            case Start(lease):
                self._start(lease)
            case Stop(token):
                if run := self._runs.get(token):
                    run.stop()
            case Joined(worker_id, heartbeat_seconds):
                self._has_joined = True
                log.info("joined as %s with %d slots", worker_id, self._settings.slots)
                announce(session=worker_id)
                assert self._pulse is not None, "sessions begin while the worker runs"
                self._pulse.keep(Beat(worker_id, heartbeat_seconds))
            case MoveOn(why):
                self._link.leave(self._link.url, why)

    def _start(self, lease: Mapping[str, Any]) -> None:
        token = lease["lease_token"]
        handler = self._handlers.get(lease["type"])
        if handler is None:
            served = f"worker {self._settings.name} serves no type {lease['type']!r}"
            self.on_outcome(token, Failed(served))
            return
        run = self._runs[token] = Run(handler, lease, processes=self._processes, listener=self)
        try:
            run.start()
        except RuntimeError as error:  # No thread can be had: the lease must not be kept idle.
            self.on_outcome(token, Failed(f"it could not be started: {error}"))
