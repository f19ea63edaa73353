"""Receiving a snapshot: written down as it comes, and built into a second machine meanwhile.

Nothing of this node changes before both are whole; then they are handed over in one step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

from cluster import codec
from cluster.core.machine import Machine
from cluster.crashpoints import reach
from cluster.errors import QuorateError, WireError
from cluster.raft import snapshots
from cluster.raft.driver import Driver
from cluster.raft.snapshots import Place
from cluster.raft.storage import Draft, Storage
from cluster.raft.wire import Channel
from cluster.snapshot_sending import FLIGHT_FRAMES

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0  # After a transfer that failed here, as on a full disk, before another one.


class SnapshotReceiver:
    """The transfer to this node, if there is one."""

    def __init__(
        self,
        *,
        driver: Driver,
        storage: Storage,
        thread: Executor,
        install: Callable[[Machine, Place], Awaitable[None]],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._storage = storage
        self._thread = thread
        self._install = install  # Called with what came, once it is whole and durable.
        self._run = run  # Owns the work that goes on by itself.
        self._loop = asyncio.get_running_loop()
        self._transfer: _Transfer | None = None
        self._paused_until = float("-inf")  # By the loop's clock.

    def link_down(self, peer: str) -> None:
        """Stop what comes from *peer*."""
        if self._transfer is not None and self._transfer.peer == peer:
            self._abandon()

    def leader_changed(self) -> None:
        """Stop what a leader of an earlier term will not go on sending."""
        transfer = self._transfer
        if transfer is not None and transfer.term < self._engine.term and not transfer.is_whole:
            self._abandon()

    def message(self, peer: str, content: list[Any]) -> None:
        """Take what *peer* sends.

        Raises:
            WireError: it makes no sense.
        """
        match content:
            case ["begin", int(number), int(term), int(log_index)]:
                self._begin(peer, number, term, log_index)
            case ["frame", int(number), int(count), bytes(frame)]:
                self._queue(peer, number, count, frame)
            case ["end", int(number), int(count)]:
                self._queue(peer, number, count, None)
            case _:
                raise WireError(f"a part of a transfer cannot be understood: {content!r:.80}")

    def _begin(self, peer: str, number: int, term: int, log_index: int) -> None:
        if term != self._engine.term or peer != self._engine.leader:
            self._stop(peer, number)  # Else it would wait for answers, and begin no other.
            return
        if log_index <= self._engine.applied_index:
            self._stop(peer, number)
            self._engine.confirm_snapshot(self._engine.applied_index)
            self._driver.wake()
            return
        if self._loop.time() < self._paused_until:
            self._stop_later(peer, number)
            return
        self._abandon()
        reach("snapshot.transfer_begins")
        self._transfer = _Transfer(peer, number, term)
        self._transfer.task = self._run(self._receive(self._transfer))

    def _queue(self, peer: str, number: int, count: int, frame: bytes | None) -> None:
        """Put a frame, or the end, in line if it is the next one of this transfer."""
        transfer = self._transfer
        if transfer is not None and transfer.expects(peer, number, count):
            transfer.queued += 1
            transfer.is_whole = frame is None
            transfer.frames.put_nowait(frame)

    async def _receive(self, transfer: _Transfer) -> None:
        try:
            machine, place = await self._take_in(transfer)
        except (QuorateError, OSError) as error:
            logger.warning("a snapshot from %s was given up: %s", transfer.peer, error)
            self._paused_until = self._loop.time() + PAUSE_SECONDS
            self._stop_later(transfer.peer, transfer.number)
            return
        finally:
            # Behind what that thread is doing: a descriptor closed under a write may already be
            # that of another file.
            self._loop.run_in_executor(self._thread, transfer.discard)
            if self._transfer is transfer:
                self._transfer = None
        await self._install(machine, place)
        self._stop(transfer.peer, transfer.number)

    async def _take_in(self, transfer: _Transfer) -> tuple[Machine, Place]:
        """Write down and load what comes, until it is whole."""
        loader = codec.MachineLoader()
        place: Place | None = None
        await self._loop.run_in_executor(self._thread, transfer.open_draft, self._storage)
        draft = transfer.draft
        assert draft is not None, "it was just opened"
        await self._write(draft.add, snapshots.MAGIC)
        while (content := await transfer.frames.get()) is not None:
            if place is None:
                place = snapshots.parse_place(content, source=f"from {transfer.peer}")
            else:
                loader.feed(content)
            await self._write(draft.add, snapshots.frame(content))
            reach("snapshot.frame_received")
            transfer.written += 1
            answer = ["got", transfer.number, transfer.written]
            self._driver.tell(transfer.peer, answer, channel=Channel.SNAPSHOT)
        if place is None:
            raise WireError("it came without its place")
        machine = loader.finish()
        reach("snapshot.before_received_committed")
        await self._write(draft.add, snapshots.END)
        await self._write(draft.commit, snapshots.name_of(place.log_index, place.term))
        return machine, place

    async def _write(self, write: Callable[[Any], None], content: bytes | str) -> None:
        await self._loop.run_in_executor(self._thread, write, content)

    def _abandon(self) -> None:
        if self._transfer is not None and self._transfer.task is not None:
            self._transfer.task.cancel()
            self._stop(self._transfer.peer, self._transfer.number)
        self._transfer = None

    def _stop_later(self, peer: str, number: int) -> None:
        """As `_stop`, once the pause is over: until then *peer* begins no other."""
        self._loop.call_at(self._paused_until, self._stop, peer, number)

    def _stop(self, peer: str, number: int) -> None:
        """Tell *peer* that its transfer is over: it may begin another, once it leads again."""
        self._driver.tell(peer, ["stop", number], channel=Channel.SNAPSHOT)


class _Transfer:
    """One transfer from the leader."""

    def __init__(self, peer: str, number: int, term: int) -> None:
        self.peer = peer
        self.number = number
        self.term = term  # In which the peer leads.
        self.is_whole = False  # Its end is in line.
        self.draft: Draft | None = None
        self.queued = 0
        self.written = 0
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    # On the storage's thread: one behind the other, whatever is cancelled meanwhile.

    def open_draft(self, storage: Storage) -> None:
        self.draft = storage.open_draft()

    def discard(self) -> None:
        if self.draft is not None:
            self.draft.discard()

    def expects(self, peer: str, number: int, count: int) -> bool:
        """Whether that is its next frame, and within what may be unanswered."""
        is_next = (self.peer, self.number, self.queued) == (peer, number, count)
        return is_next and self.queued - self.written < FLIGHT_FRAMES + 2
