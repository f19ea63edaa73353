"""The worker: takes tasks from any gateway, runs their handlers, reports what came of them.

Thin: what it holds and must stop is `node.session`'s to say, a run is `node.runs`'s. It gives up no
task by a clock of its own; only the cluster takes a lease back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.errors import QuorateError
from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import (
    LeaseLost,
    RequestRefused,
    TaskUnknown,
    WorkerLost,
    WorkerUnknown,
)
from node.context import Context
from node.lifeline import announce
from node.log import Rarely
from node.loops import stop_signal, unless_set
from node.pulse import Listener, Pulse
from node.runs import Completed, Failed, Outcome, Run
from node.session import Session
from node.tasks import Handler

LEASE_WAIT_SECONDS = 20.0  # How long one call waits for tasks; then it asks again.
RETRY_PAUSE_SECONDS = 0.5  # After the client lost its patience with every gateway.
LEAVE_TIMEOUT_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker is reached for and what it takes on."""

    urls: tuple[str, ...]
    name: str
    slots: int = 4
    queues: tuple[str, ...] = ("default",)
    tags: tuple[str, ...] = ()
    drain_seconds: float = 20.0


class TaskWorker:
    """Runs tasks of the types that it has handlers for, as many at once as it has slots."""

    def __init__(self, handlers: Mapping[str, Handler[..., Any]], settings: WorkerSettings) -> None:
        self._handlers = handlers
        self._settings = settings
        self._session = Session(slots=settings.slots)
        self._client = Client(settings.urls)
        self._runs: dict[int, Run] = {}  # Lease token -> its run, until it has stopped.
        self._tasks: set[asyncio.Task[None]] = set()
        self._rarely = Rarely(log)
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()  # A lease was settled: there may be room, or nothing left.

    def stop(self) -> None:
        """Take nothing more, let what runs finish within the drain time, leave."""
        self._session.drain()
        self._stopping.set()

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

        Raises:
            RequestRefused: the cluster does not take this worker as it describes itself.
        """
        async with self._client:
            try:
                while not self._stopping.is_set():
                    session = await unless_set(self._stopping, self._register())
                    if session is not None:
                        await self._serve(session)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _register(self) -> Object:
        while True:
            try:
                session = await self._client.register(
                    name=self._settings.name,
                    queues=self._settings.queues,
                    types=sorted(self._handlers),
                    tags=self._settings.tags,
                    slots=self._settings.slots,
                )
            except RequestRefused:
                raise
            except QuorateError as error:
                self._rarely.warn("found no cluster to join, trying on", error)
                await asyncio.sleep(RETRY_PAUSE_SECONDS)
            else:
                announce(session=session["worker_id"])
                log.info("joined as %s with %d slots", session["worker_id"], self._settings.slots)
                return session

    async def _serve(self, session: Object) -> None:
        """Take tasks under one registration, until it ends or we are to stop."""
        worker_id = session["worker_id"]
        ended = asyncio.Event()
        pulse = Pulse(
            self._settings.urls,
            worker_id,
            interval_seconds=session["heartbeat_seconds"],
            tokens=lambda: self._session.tokens,
            listener=Listener(on_orders=self._obey, on_end=ended.set),
        )
        async with pulse:
            await unless_set(self._stopping, self._take_until(ended, worker_id))
            if self._stopping.is_set():
                await self._drain(worker_id)
                return
        log.warning("the cluster ended session %s: stopping its runs, joining anew", worker_id)
        self._stop_runs(self._session.end())

    async def _take_until(self, ended: asyncio.Event, worker_id: str) -> None:
        await unless_set(ended, self._take(worker_id))

    async def _take(self, worker_id: str) -> None:
        """Lease as many tasks as there is room for; return when the session is over."""
        while True:
            self._changed.clear()
            room = self._session.room
            if room == 0:
                await self._changed.wait()
                continue
            try:
                leases = await self._client.lease(worker_id, slots=room, wait=LEASE_WAIT_SECONDS)
            except (WorkerUnknown, WorkerLost):
                return
            except RequestRefused:
                raise
            except QuorateError as error:
                self._rarely.warn("no gateway gave tasks, trying on", error)
                continue
            for lease in leases:
                self._begin(lease)

    def _begin(self, lease: Object) -> None:
        token = lease["lease_token"]
        if not self._session.take(token, lease["id"]):
            return
        task = asyncio.create_task(self._run(lease), name=f"task {lease['id']}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, lease: Object) -> None:
        """Run one leased task, report its outcome, free its slot."""
        token = lease["lease_token"]
        try:
            outcome = await self._outcome(lease)
            if self._session.finish(token):
                await self._report(lease, outcome)
        finally:
            self._session.settle(token, lease["id"])
            self._changed.set()

    async def _outcome(self, lease: Object) -> Outcome:
        handler = self._handlers.get(lease["type"])
        if handler is None:
            return Failed(f"worker {self._settings.name} serves no type {lease['type']!r}")
        run = Run(handler, _context(lease), lease["data"])
        token = lease["lease_token"]
        self._runs[token] = run
        if lease["cancel_requested"]:
            run.stop()
        try:
            return await run.outcome()
        finally:
            del self._runs[token]

    async def _report(self, lease: Object, outcome: Outcome) -> None:
        """Report until it is answered: the lease stands as long, and a repeat changes nothing."""
        while True:
            try:
                await self._send(lease, outcome)
            except (LeaseLost, TaskUnknown) as error:
                log.warning("task %s: its outcome here is dropped: %s", lease["id"], error)
            except (TypeError, ValueError, OverflowError, RequestRefused) as error:
                # What cannot be said will not be sayable at the next attempt either.
                if isinstance(outcome, Failed):
                    log.warning("task %s: its failure was refused: %s", lease["id"], error)
                    return
                outcome = Failed(f"the result cannot be reported: {error}", retry=False)
                continue
            except QuorateError as error:
                self._rarely.warn("an outcome waits for a gateway", error)
                await asyncio.sleep(RETRY_PAUSE_SECONDS)
                continue
            return

    async def _send(self, lease: Object, outcome: Outcome) -> None:
        task_id, token = lease["id"], lease["lease_token"]
        if isinstance(outcome, Completed):
            await self._client.complete(task_id, token, outcome.result)
        else:
            await self._client.fail(task_id, token, outcome.error, retry=outcome.retry)

    def _obey(self, orders: Object) -> None:
        """Do what a heartbeat brought back."""
        lost = self._session.lose(orders["lost"])
        if lost:
            log.warning("lost %d leases: stopping their runs", len(lost))
        self._stop_runs(lost)
        self._stop_runs(self._session.cancel(orders["cancel"]))
        if orders["drain"] and not self._stopping.is_set():
            log.info("asked by the cluster to drain")
            self.stop()

    async def _drain(self, worker_id: str) -> None:
        """Let what runs finish, bounded; then go, which hands the rest back."""
        if not self._session.is_idle:
            log.info("waiting up to %g s for running tasks", self._settings.drain_seconds)
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                while not self._session.is_idle:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            left = self._session.end()
            log.warning("handing back what did not finish in time, tasks: %d", len(left))
            self._stop_runs(left)
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                await self._client.leave(worker_id)
        except TimeoutError:
            log.warning(
                "could not say good-bye, the lease will run out: no node answered in %g s",
                LEAVE_TIMEOUT_SECONDS,
            )
        except QuorateError as error:
            log.warning("could not say good-bye, the lease will run out: %s", error)
        else:
            log.info("left")

    def _stop_runs(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            if run := self._runs.get(token):
                run.stop()


def _context(lease: Object) -> Context:
    return Context(
        task_id=lease["id"],
        type=lease["type"],
        queue=lease["queue"],
        attempt=lease["attempt"],
        lease_token=lease["lease_token"],
        meta=lease["meta"],
        traceparent=lease["traceparent"],
    )
