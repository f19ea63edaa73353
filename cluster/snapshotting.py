"""Snapshots: when one is taken, what of the log it makes needless, and which node is sent one.

They are taken in a child process from the state as it is at that moment, so that the loop never
waits for one. `snapshot_sending.py` and `snapshot_receiving.py` carry them from node to node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any

from cluster import codec
from cluster.caretaking import check_version
from cluster.core.machine import Machine
from cluster.crashpoints import reach
from cluster.errors import StorageError, WireError
from cluster.host import Host
from cluster.raft import snapshots
from cluster.raft.driver import Driver
from cluster.raft.snapshots import Place
from cluster.raft.storage import Storage
from cluster.settings import ReplicaSettings
from cluster.snapshot_receiving import SnapshotReceiver
from cluster.snapshot_sending import SnapshotSender

logger = logging.getLogger(__name__)

LOG_GROWTH = 0.5  # New log of less than this share of the last snapshot calls for no other.
BYTES_AN_ENTRY = 1_000  # Of the last snapshot: a large one is written as seldom as it takes long.


class Snapshots:
    """This node's snapshots, those it sends and the one it may be receiving."""

    def __init__(
        self,
        *,
        settings: ReplicaSettings,
        host: Host,
        storage: Storage,
        driver: Driver,
        machine: Machine,
        log_thread: Executor,
        on_installed: Callable[[Place], None],
    ) -> None:
        self._settings = settings
        self._host = host
        self._storage = storage
        self._driver = driver
        self._engine = driver.engine
        self._log = driver.engine.log
        self._machine = machine
        self._log_thread = log_thread
        self._thread = host.open_log_thread()  # Its own: the log's must not wait for it.
        self._on_installed = on_installed
        self._loop = asyncio.get_running_loop()
        self._taken_at_bytes = 0
        self._taken_at_index = machine.applied_index
        self._last_size = 0
        self._taking: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._sender = SnapshotSender(
            driver=driver, storage=storage, thread=self._thread, take=self.take, run=self._run
        )
        self._receiver = SnapshotReceiver(
            driver=driver,
            storage=storage,
            thread=self._thread,
            install=self._install,
            run=self._run,
        )

    async def stop(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown()

    # Taking.

    def consider(self) -> None:
        """Take a snapshot if the log has grown enough since the last one.

        By bytes, which bounds the disk, or by entries, which bounds how long the next start takes.
        """
        settings, size = self._settings, self._last_size
        grown = self._log.bytes_appended - self._taken_at_bytes
        entries = self._engine.applied_index - self._taken_at_index
        if grown > max(settings.snapshot_bytes, size * LOG_GROWTH) or (
            entries > max(settings.snapshot_entries, size // BYTES_AN_ENTRY)
        ):
            self.take()

    def take(self) -> asyncio.Task[None]:
        """Take a snapshot of what is applied now, unless one is being taken."""
        if self._taking is None or self._taking.done():
            self._taken_at_bytes = self._log.bytes_appended
            self._taken_at_index = self._engine.applied_index
            self._taking = self._run(self._take())
        return self._taking

    async def _take(self) -> None:
        index = self._engine.applied_index
        term = self._log.term_at(index)
        assert term is not None, "what was applied last is in the log"
        name = snapshots.name_of(index, term)
        if name not in snapshots.names(self._storage):
            place = Place(index, term, self._engine.configuration_at(index))
            started = self._loop.time()
            try:
                await self._host.save(self._storage, name, lambda: self._frames(place))
            except StorageError as error:
                logger.warning("no snapshot was taken: %s", error)  # The log keeps everything.
                return
            self._last_size = self._storage.size(name)
            logger.info("snapshot at %d took %.2f s", index, self._loop.time() - started)
        reach("snapshot.taken")
        await self._cut(index)

    def _frames(self, place: Place) -> Iterator[bytes]:
        for frame in snapshots.frames(snapshots.contents(place, codec.dump_machine(self._machine))):
            reach("snapshot.before_frame")
            yield frame

    async def _cut(self, index: int) -> None:
        """Drop what the snapshot at *index* makes needless: older ones, and log segments."""
        keep = self._log.tail_of(
            index,
            bytes_max=self._settings.tail_bytes,
            entries_max=self._settings.tail_entries,
        )
        segments = self._engine.compact(keep)
        reach("snapshot.log_cut")
        await self._loop.run_in_executor(self._log_thread, self._log.drop, segments)
        await self._drop_older()

    async def _drop_older(self) -> None:
        """Remove all snapshots but the newest, and those that are being sent."""
        needed = self._sender.names()
        for name in snapshots.names(self._storage)[:-1]:
            if name not in needed:
                reach("snapshot.before_older_removed")
                await self._loop.run_in_executor(self._thread, self._storage.remove, name)

    # From node to node.

    def send(self, peer: str) -> None:
        """Begin to send the newest snapshot to *peer*, unless that is under way."""
        self._sender.send(peer)

    def link_down(self, peer: str) -> None:
        """Stop what goes to or comes from *peer*."""
        self._sender.link_down(peer)
        self._receiver.link_down(peer)

    def leader_changed(self) -> None:
        """Stop what comes from who leads no more."""
        self._receiver.leader_changed()

    def message(self, peer: str, content: Any) -> None:
        """Take what *peer* says of a transfer.

        Raises:
            WireError: it makes no sense.
        """
        match content:
            case ["begin" | "frame" | "end", *_]:
                self._receiver.message(peer, content)
            case ["got" | "stop", *_]:
                self._sender.message(peer, content)
            case _:
                raise WireError(f"a message of a transfer cannot be understood: {content!r:.80}")

    async def _install(self, machine: Machine, place: Place) -> None:
        """Go on from a snapshot that came whole, unless this node is further by now."""
        if place.log_index <= self._engine.applied_index:
            self._engine.confirm_snapshot(self._engine.applied_index)
        else:
            check_version(machine, newest=self._settings.newest_version)
            reach("snapshot.before_install")
            remains = self._machine.become(machine)
            reach("snapshot.machine_replaced")
            self._engine.installed(*place)
            self._taken_at_index = place.log_index
            reach("snapshot.installed")
            self._on_installed(place)
            logger.info("installed a snapshot at %d", place.log_index)
            self._run(_let_go(remains))
        self._driver.wake()
        await self._drop_older()

    # What goes on by itself.

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._driver.fail(error)


async def _let_go(remains: Iterator[None]) -> None:
    """Free what a snapshot has replaced, a little in each turn of the loop."""
    for _ in remains:
        await asyncio.sleep(0)
