"""A replicated queue as threads see it: its replica has a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import NamedTuple

from cluster.errors import ConfigurationError
from cluster.replica import Replica
from cluster.settings import ReplicaSettings
from node.config import SECRET_BYTES_MIN, parse_address
from node.loops import run, unless_set
from node.memory import memory_bytes_default
from node.queuesync.host import EnduringHost
from node.queuesync.requests import Answer, AskLater, Request, failed
from node.queuesync.shared import SharedQueue

LEASE_SECONDS = 5.0  # Only a leader that froze or was cut off is waited for so long, at most.

_log = logging.getLogger(__name__)


def open_replicated(
    peers: Mapping[str, str],
    *,
    node_id: str | None,
    data_directory: str | Path | None,
    secret: bytes | None,
) -> ReplicatedQueue:
    """The queue that *peers* share, seen from one of them.

    Raises:
        ConfigurationError: something is missing, or contradicts the rest; says what.
    """
    if node_id is None or data_directory is None:
        raise ConfigurationError("peers need a node_id, one of them, and a data_directory")
    if node_id not in peers:
        raise ConfigurationError(f"node_id {node_id} is not among the peers: {', '.join(peers)}")
    addresses = {name: parse_address(text) for name, text in peers.items()}
    if len(set(addresses.values())) < len(addresses):
        raise ConfigurationError("peers gives one address to two of them")
    if secret is None and not all(address.is_loopback for address in addresses.values()):
        raise ConfigurationError(
            "peers on other machines must share a secret, which keeps strangers out: give each the"
            f" same secret of at least {SECRET_BYTES_MIN} random bytes"
        )
    if secret is not None and len(secret) < SECRET_BYTES_MIN:
        raise ConfigurationError(
            f"the secret has {len(secret)} bytes, and needs at least {SECRET_BYTES_MIN}"
        )
    return ReplicatedQueue(
        ReplicaSettings(
            node_id=node_id,
            members={name: str(address) for name, address in addresses.items()},
            data=Path(data_directory),
            http="",  # It has no gateway.
            secret=secret,
            lease_seconds=LEASE_SECONDS,
            memory_bytes_max=memory_bytes_default(),
        )
    )


class ReplicatedQueue:
    """One peer's part of the shared queue: a replica on a loop and a thread of its own."""

    def __init__(self, settings: ReplicaSettings) -> None:
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)
        self._running: Future[_Running] = Future()
        self._turns: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._on_failure: Callable[[], None] = lambda: None
        self._is_closed = False

    def start(self, *, on_failure: Callable[[], None]) -> None:
        """Recover what the data directory holds, and join the peers.

        Raises:
            QuorateError: the directory cannot be used.
            OSError: this peer's address cannot be bound.
        """
        self._on_failure = on_failure
        self._thread.start()
        self._running.result()

    def ask(self, request: Request) -> Future[Answer]:
        """Have the request in the log, and wait for its answer."""
        if self._is_closed:
            return failed(AskLater("the coordinator is stopping"))
        running = self._running.result()
        return asyncio.run_coroutine_threadsafe(running.shared.ask(request), running.loop)

    def next(self) -> Request | None:
        """Wait until this peer is given a request to handle."""
        request = self._turns.get()
        return None if self._is_closed else request

    def answer(self, request: Request, answer: Answer) -> None:
        """Settle it. Waits for as long as this peer reaches no leader: it handles nothing then."""
        running = self._running.result()
        settling = asyncio.run_coroutine_threadsafe(
            running.shared.settle(request, answer), running.loop
        )
        with contextlib.suppress(CancelledError):  # It stops: another peer handles the request.
            if not settling.result():
                _log.warning("request %s has gone to another peer: handled twice", request.id)

    def close(self) -> None:
        """Take and hand out nothing more; clients are to ask another peer."""
        self._is_closed = True
        self._turns.put(None)
        self._tell(self._running.result().shared.close)

    def stop(self) -> None:
        """Hand back what was not handled, and leadership, and leave the peers."""
        self._tell(self._running.result().stopping.set)
        self._thread.join()

    def _tell(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended: it failed, and said so.
            self._running.result().loop.call_soon_threadsafe(what)

    def _run(self) -> None:
        try:
            run(self._serve())
        except BaseException as error:  # noqa: BLE001 - It belongs to who called `start`.
            if self._running.done():
                _log.exception("the replicated queue failed")
                self._on_failure()
            else:
                self._running.set_exception(error)  # `start` raises it.

    async def _serve(self) -> None:
        replica = await Replica.start(self._settings, EnduringHost())
        try:
            shared = SharedQueue(replica, self._turns.put)
            stopping = asyncio.Event()
            self._running.set_result(_Running(asyncio.get_running_loop(), shared, stopping))
            failure = await unless_set(stopping, _until_failed(shared, replica))
            if failure is not None:
                _log.error("the coordinator stops, because it must not go on", exc_info=failure)
                self._on_failure()
                await stopping.wait()
        finally:
            await replica.stop()


class _Running(NamedTuple):
    """What other threads need of the one that runs the replica."""

    loop: asyncio.AbstractEventLoop
    shared: SharedQueue
    stopping: asyncio.Event


async def _until_failed(shared: SharedQueue, replica: Replica) -> BaseException | None:
    """Run until the replica must not go on, or the queue does not; says why."""
    running = asyncio.create_task(shared.run())
    failing = asyncio.create_task(replica.wait_failed())
    try:
        await asyncio.wait((running, failing), return_when=asyncio.FIRST_COMPLETED)
        return failing.result() if failing.done() else running.exception()
    finally:
        running.cancel()
        failing.cancel()
        await asyncio.gather(running, failing, return_exceptions=True)
