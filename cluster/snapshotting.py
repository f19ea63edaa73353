"""Taking snapshots, sending them to whoever is too far behind, and installing what was sent.

A snapshot is taken by a child of this process while the loop goes on; then the log is cut, but for
a tail that spares a short absence the transfer. A transfer goes frame by frame, a few unanswered
ones at a time, so that the leader's own work hardly notices; the follower writes it down and builds
a second machine from it as it comes, and changes over in one step once both are whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any

from cluster import codec
from cluster.core.machine import Machine
from cluster.crashpoints import reach
from cluster.errors import QuorateError, StorageError, WireError
from cluster.host import Host
from cluster.raft import snapshots
from cluster.raft.driver import Driver
from cluster.raft.snapshots import Place
from cluster.raft.storage import Draft, Storage
from cluster.raft.wire import Channel
from cluster.settings import ReplicaSettings

logger = logging.getLogger(__name__)

LOG_GROWTH = 0.5  # New log of less than this share of the last snapshot calls for no other.
FLIGHT_FRAMES = 4  # How many frames of a transfer may be unanswered.


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
        self._last_size = 0
        self._taking: asyncio.Task[None] | None = None
        self._sending: dict[str, _Sending] = {}
        self._receiving: _Receiving | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._transfers = 0

    async def stop(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown()

    # Taking.

    def consider(self) -> None:
        """Take a snapshot if the log has grown enough since the last one."""
        grown = self._log.bytes_appended - self._taken_at_bytes
        if grown > max(self._settings.snapshot_bytes, self._last_size * LOG_GROWTH):
            self.take()

    def take(self) -> asyncio.Task[None]:
        """Take a snapshot of what is applied now, unless one is being taken."""
        if self._taking is None or self._taking.done():
            self._taken_at_bytes = self._log.bytes_appended
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
        needed = {sending.name for sending in self._sending.values()}
        for name in snapshots.names(self._storage)[:-1]:
            if name not in needed:
                reach("snapshot.before_older_removed")
                await self._loop.run_in_executor(self._thread, self._storage.remove, name)

    # Sending.

    def send(self, peer: str) -> None:
        """Begin to send the newest snapshot to *peer*, unless that is under way."""
        if peer not in self._sending:
            self._transfers += 1
            self._sending[peer] = sending = _Sending(peer, self._transfers)
            self._run(self._send(sending))

    async def _send(self, sending: _Sending) -> None:
        try:
            names = snapshots.names(self._storage)
            if not names or int(names[-1].split("-", 1)[0]) < self._log.first_index:
                await self.take()
                names = snapshots.names(self._storage)
            if names:
                await self._send_file(sending, names[-1])
        finally:
            del self._sending[sending.peer]

    async def _send_file(self, sending: _Sending, name: str) -> None:
        sending.name = name
        contents = snapshots.read_contents(self._storage, name)
        term = self._engine.term
        log_index = int(name.split("-", 1)[0])
        if not self._tell(sending, "begin", term, log_index):
            return
        while self._engine.is_leader and self._engine.term == term:
            content = await self._loop.run_in_executor(self._thread, next, contents, None)
            if content is None:
                self._tell(sending, "end", sending.sent)
                return
            if not await sending.wait_for_room() or not self._tell(
                sending, "frame", sending.sent, content
            ):
                return
            reach("snapshot.frame_sent")
            sending.sent += 1

    def _tell(self, sending: _Sending, *content: Any) -> bool:
        kind, *rest = content
        return self._driver.tell(
            sending.peer, [kind, sending.number, *rest], channel=Channel.SNAPSHOT
        )

    def link_down(self, peer: str) -> None:
        """Stop what goes to or comes from *peer*."""
        if peer in self._sending:
            self._sending[peer].stop()
        if self._receiving is not None and self._receiving.peer == peer:
            self._abandon()

    # Receiving.

    def message(self, peer: str, content: Any) -> None:
        """Take what *peer* says of a transfer.

        Raises:
            WireError: it makes no sense.
        """
        match content:
            case ["begin", int(number), int(term), int(log_index)]:
                self._begin(peer, number, term, log_index)
            case ["frame", int(number), int(count), bytes(frame)]:
                if self._is_receiving(peer, number, count):
                    self._queue(frame)
            case ["end", int(number), int(count)]:
                if self._is_receiving(peer, number, count):
                    self._queue(None)
            case ["got", int(number), int(count)]:
                sending = self._sending.get(peer)
                if sending is not None and sending.number == number:
                    sending.answered(count)
            case ["stop", int(number)]:
                sending = self._sending.get(peer)
                if sending is not None and sending.number == number:
                    sending.stop()
            case _:
                raise WireError(f"a message of a transfer cannot be understood: {content!r:.80}")

    def _begin(self, peer: str, number: int, term: int, log_index: int) -> None:
        if term != self._engine.term or peer != self._engine.leader:
            return
        if log_index <= self._engine.applied_index:
            self._driver.tell(peer, ["stop", number], channel=Channel.SNAPSHOT)
            self._engine.confirm_snapshot(self._engine.applied_index)
            self._driver.wake()
            return
        self._abandon()
        reach("snapshot.transfer_begins")
        self._receiving = _Receiving(peer, number, self._storage.open_draft())
        self._receiving.task = self._run(self._receive(self._receiving))

    def _is_receiving(self, peer: str, number: int, count: int) -> bool:
        receiving = self._receiving
        return (
            receiving is not None
            and receiving.queued - receiving.written < FLIGHT_FRAMES + 2
            and (receiving.peer, receiving.number, receiving.queued) == (peer, number, count)
        )

    def _queue(self, frame: bytes | None) -> None:
        assert self._receiving is not None
        self._receiving.queued += 1
        self._receiving.frames.put_nowait(frame)

    async def _receive(self, receiving: _Receiving) -> None:
        try:
            machine, place = await self._take_in(receiving)
        except (QuorateError, OSError) as error:
            logger.warning("a snapshot from %s was given up: %s", receiving.peer, error)
            self._driver.tell(receiving.peer, ["stop", receiving.number], channel=Channel.SNAPSHOT)
            return
        finally:
            # Behind what that thread is doing: a descriptor closed under a write may already be
            # that of another file.
            self._loop.run_in_executor(self._thread, receiving.draft.discard)
            if self._receiving is receiving:
                self._receiving = None
        self._install(machine, place)
        await self._drop_older()

    async def _take_in(self, receiving: _Receiving) -> tuple[Machine, Place]:
        """Write down and load what comes, until it is whole."""
        loader = codec.MachineLoader()
        place: Place | None = None
        draft = receiving.draft
        await self._write(draft.add, snapshots.MAGIC)
        while (content := await receiving.frames.get()) is not None:
            if place is None:
                place = snapshots.parse_place(content, source=f"from {receiving.peer}")
            else:
                loader.feed(content)
            await self._write(draft.add, snapshots.frame(content))
            reach("snapshot.frame_received")
            receiving.written += 1
            answer = ["got", receiving.number, receiving.written]
            self._driver.tell(receiving.peer, answer, channel=Channel.SNAPSHOT)
        if place is None:
            raise WireError("it came without its place")
        machine = loader.finish()
        reach("snapshot.before_received_committed")
        await self._write(draft.add, snapshots.END)
        await self._write(draft.commit, snapshots.name_of(place.log_index, place.term))
        return machine, place

    def _install(self, machine: Machine, place: Place) -> None:
        if place.log_index <= self._engine.applied_index:
            self._engine.confirm_snapshot(self._engine.applied_index)
        else:
            reach("snapshot.before_install")
            self._machine.become(machine)
            reach("snapshot.machine_replaced")
            self._engine.installed(*place)
            self._on_installed(place)
            logger.info("installed a snapshot at %d", place.log_index)
        self._driver.wake()

    async def _write(self, write: Callable[[Any], None], content: bytes | str) -> None:
        await self._loop.run_in_executor(self._thread, write, content)

    def _abandon(self) -> None:
        if self._receiving is not None and self._receiving.task is not None:
            self._receiving.task.cancel()
        self._receiving = None

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


class _Sending:
    """One transfer to a follower."""

    def __init__(self, peer: str, number: int) -> None:
        self.peer = peer
        self.number = number
        self.name = ""  # The file.
        self.sent = 0
        self._answered = 0
        self._is_stopped = False
        self._moved = asyncio.Event()

    def answered(self, count: int) -> None:
        """Note how many frames the follower has written."""
        self._answered = max(self._answered, count)
        self._moved.set()

    def stop(self) -> None:
        """Send no more."""
        self._is_stopped = True
        self._moved.set()

    async def wait_for_room(self) -> bool:
        """Wait until one more frame may be sent; False if none may be any more."""
        while not self._is_stopped and self.sent - self._answered >= FLIGHT_FRAMES:
            self._moved.clear()
            await self._moved.wait()
        return not self._is_stopped


class _Receiving:
    """One transfer from the leader."""

    def __init__(self, peer: str, number: int, draft: Draft) -> None:
        self.peer = peer
        self.number = number
        self.draft = draft
        self.queued = 0
        self.written = 0
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
