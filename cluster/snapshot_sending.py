"""Sending snapshots: to each follower that lacks what the log no longer has, one transfer.

A snapshot goes frame by frame, a few unanswered ones at a time, so that the leader's own work
hardly notices. A file that is being sent must not be removed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

from cluster.crashpoints import reach
from cluster.errors import WireError
from cluster.raft import snapshots
from cluster.raft.driver import Driver
from cluster.raft.storage import Storage
from cluster.raft.wire import Channel

FLIGHT_FRAMES = 4  # How many frames of a transfer may be unanswered.


class SnapshotSender:
    """This node's transfers to others."""

    def __init__(
        self,
        *,
        driver: Driver,
        storage: Storage,
        thread: Executor,
        take: Callable[[], Awaitable[None]],
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._storage = storage
        self._thread = thread
        self._take = take  # Takes a snapshot of now.
        self._run = run  # Owns the work that goes on by itself.
        self._loop = asyncio.get_running_loop()
        self._transfers: dict[str, _Transfer] = {}  # By peer.
        self._count = 0

    def send(self, peer: str) -> None:
        """Begin to send the newest snapshot to *peer*, unless that is under way."""
        if peer not in self._transfers:
            self._count += 1
            self._transfers[peer] = transfer = _Transfer(peer, self._count)
            self._run(self._send(transfer))

    def names(self) -> set[str]:
        """The files that are being sent."""
        return {transfer.name for transfer in self._transfers.values()}

    def link_down(self, peer: str) -> None:
        """Stop what goes to *peer*."""
        if peer in self._transfers:
            self._transfers[peer].stop()

    def message(self, peer: str, content: list[Any]) -> None:
        """Take what *peer* answers.

        Raises:
            WireError: it makes no sense.
        """
        match content:
            case ["got", int(number), int(count)]:
                transfer = self._transfers.get(peer)
                if transfer is not None and transfer.number == number:
                    transfer.answered(count)
            case ["stop", int(number)]:
                transfer = self._transfers.get(peer)
                if transfer is not None and transfer.number == number:
                    transfer.stop()
            case _:
                raise WireError(f"an answer to a transfer cannot be understood: {content!r:.80}")

    async def _send(self, transfer: _Transfer) -> None:
        try:
            names = snapshots.names(self._storage)
            if not names or snapshots.index_of(names[-1]) < self._engine.log.first_index:
                await self._take()
                names = snapshots.names(self._storage)
            if names:
                await self._send_file(transfer, names[-1])
        finally:
            del self._transfers[transfer.peer]

    async def _send_file(self, transfer: _Transfer, name: str) -> None:
        transfer.name = name
        contents = snapshots.read_contents(self._storage, name)
        term = self._engine.term
        if not self._tell(transfer, "begin", term, snapshots.index_of(name)):
            return
        while self._engine.is_leader and self._engine.term == term:
            content = await self._loop.run_in_executor(self._thread, next, contents, None)
            if content is None:
                # Until the follower says that it is over: what it has in hand may take a slow disk
                # longer than the next heartbeat, and another transfer would put an end to it.
                if self._tell(transfer, "end", transfer.sent):
                    await transfer.wait_until_over()
                return
            if not await transfer.wait_for_room() or not self._tell(
                transfer, "frame", transfer.sent, content
            ):
                return
            reach("snapshot.frame_sent")
            transfer.sent += 1

    def _tell(self, transfer: _Transfer, kind: str, *content: Any) -> bool:
        return self._driver.tell(
            transfer.peer, [kind, transfer.number, *content], channel=Channel.SNAPSHOT
        )


class _Transfer:
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
        """Send no more: the follower has all, or wants none of it."""
        self._is_stopped = True
        self._moved.set()

    async def wait_until_over(self) -> None:
        """Wait until it is stopped."""
        while not self._is_stopped:
            self._moved.clear()
            await self._moved.wait()

    async def wait_for_room(self) -> bool:
        """Wait until one more frame may be sent; False if none may be any more."""
        while not self._is_stopped and self.sent - self._answered >= FLIGHT_FRAMES:
            self._moved.clear()
            await self._moved.wait()
        return not self._is_stopped
