"""Drives the engine on an asyncio loop: what a tick appended is durable before it is vouched for.

    tick  →  what it appended, votes and terms included, becomes one generation of the log
          →  one write and one fdatasync for it, on the log's own thread; the loop goes on
          →  every message of the tick waits until its generation is durable, in order

That is the Ready loop of etcd-io/raft: write, sync, send. A leader's entries alone go out while its
own disk takes them (Ongaro's dissertation, §10.2.1): to send an entry claims nothing. pysyncobj
counts the leader itself as an acknowledgement at once. That is right only because nobody is told
before it is true: whatever carries a commit index waits until the write in hand is durable, and
nothing is applied before it is durable here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple, Protocol

from cluster.crashpoints import reach
from cluster.errors import BrokenPromise, StorageError, UnsupportedVersion, WireError
from cluster.raft.contract import AHEAD, EngineSettings, Message, Start, Timing
from cluster.raft.engine import Engine
from cluster.raft.link import WRITE_BUFFER_BYTES_MAX, Link
from cluster.raft.log import Generation, Log
from cluster.raft.membership import Configuration
from cluster.raft.security import Security
from cluster.raft.transport import Mesh
from cluster.raft.wire import Channel, Greeting, pack_frame


class DriverHooks(Protocol):
    """What the driver tells its owner. All are called on the loop; none may raise."""

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        """Apply one committed entry; None is one of the engine's own."""

    def engine_moved(self) -> None:
        """A turn is over: leadership, links or the applied index may have changed."""

    def needs_snapshot(self, peer: str) -> None:
        """Tell that *peer* lacks entries that the log no longer has. Repeated while it does."""

    def link_down(self, peer: str) -> None:
        """The link to *peer* broke, with whatever was in flight on it."""

    def peer_message(self, peer: str, channel: Channel, content: Any) -> None:
        """What the other side's `tell` said.

        Raises:
            WireError: it makes no sense.
        """

    def failed(self, error: BaseException) -> None:
        """This node must stop: its disk failed, or a promise was found broken."""


class Seen(NamedTuple):
    """When a peer was last heard, on the loop's clock, and where it said that its gateway is."""

    heard_at: float
    http: str


class Driver:
    """One member: the engine, its log, its links, its timers."""

    def __init__(
        self,
        *,
        greeting: Greeting,
        addresses: Mapping[str, str],
        bind: str,
        start: Start,
        log: Log,
        log_thread: Executor,
        hooks: DriverHooks,
        timing: Timing,
        security: Security,
        random: Callable[[], float],
        nonce: Callable[[], str],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._log = log
        self._log_thread = log_thread
        self._hooks = hooks
        self._timing = timing
        self._outbox: list[tuple[Link, Message]] = []
        self._outbox_bytes: Counter[Link] = Counter()  # Of the entries in it.
        self._is_writing = False
        self._written_at = 0.0
        self._scheduled: asyncio.Handle | None = None  # The turn that was asked for.
        self.is_stopped = False  # Or has failed: nothing is said or applied any more.
        self._writer: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._addresses = dict(addresses)
        self._learners: dict[str, str] = {}
        self._last_seen: dict[str, Seen] = {}  # Peers whose link broke.
        self.mesh = Mesh(
            greeting=greeting, bind=bind, receiver=self, security=security, nonce=nonce
        )
        self.engine = Engine(
            EngineSettings(
                node_id=greeting.node_id,
                incarnation=greeting.incarnation,
                start=start,
                log=log,
                hooks=self,
                timing=timing,
                clock=self._loop.time,
                random=random,
            )
        )
        self.engine.apply_until = lambda: log.durable_index
        self.configured(self.engine.configuration)

    async def start(self) -> None:
        """Bind, dial, and begin to tick.

        Raises:
            OSError: the address cannot be bound.
        """
        await self.mesh.start()
        self._on_timer()

    async def stop(self) -> None:
        """Stop ticking, finish the write in hand, close the links and the log."""
        self.is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._writer is not None:
            await asyncio.wait([self._writer])
        await self.mesh.stop()
        self._log.close()

    def wake(self) -> None:
        """Have the engine tick in this turn of the loop, once, however often this is called."""
        if self._scheduled is None and not self.is_stopped:
            self._scheduled = self._loop.call_soon(self.turn)

    @property
    def leader_link(self) -> Link | None:
        """The link to the leader; None if this node leads, or no leader is known and linked."""
        leader = self.engine.leader
        return None if leader is None else self.mesh.links.get(leader)

    def seen(self, peer: str) -> Seen | None:
        """What is known of *peer* from its link, or from the last that there was."""
        link = self.mesh.links.get(peer)
        return self._last_seen.get(peer) if link is None else _seen(link)

    def tell(self, peer: str, content: Any, *, channel: Channel = Channel.REPLICA) -> bool:
        """Say *content* to the owner of the driver at *peer*; False if there is no link to it."""
        link = self.mesh.links.get(peer)
        if link is None:
            return False
        link.write(pack_frame(channel, content))
        return True

    # What the links tell (transport.Receiver).

    def link_up(self, link: Link) -> None:
        assert link.greeting is not None
        self.engine.link_up(link.peer, link.greeting.incarnation)
        self.wake()

    def link_down(self, link: Link) -> None:
        self._last_seen[link.peer] = _seen(link)
        self.engine.link_down(link.peer)
        self._hooks.link_down(link.peer)
        self.wake()

    def frame_received(self, link: Link, channel: Channel, content: Any) -> None:
        if self.is_stopped:
            return
        if channel in (Channel.REPLICA, Channel.SNAPSHOT):
            self._hooks.peer_message(link.peer, channel, content)
            return
        if channel is not Channel.RAFT or not isinstance(content, list):
            raise WireError(f"a frame of channel {channel.name} has no place here")
        try:
            calls_for_turn = [self.engine.receive(link.peer, message) for message in content]
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"a Raft message cannot be understood: {error!r}") from error
        except (BrokenPromise, UnsupportedVersion) as error:
            self.fail(error)
            return
        if self._outbox or any(calls_for_turn):
            self.wake()

    # What the engine asks (contract.EngineHooks).

    def send(self, peer: str, message: Message, *, is_urgent: bool) -> None:
        link = self.mesh.links.get(peer)
        if link is None:
            return
        if is_urgent:
            link.write(pack_frame(Channel.RAFT, [message]))
        else:
            self._outbox.append((link, message))
            self._outbox_bytes[link] += sum(len(entry[0]) for entry in message.get("entries", ()))

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        self._hooks.apply(index, term, command)

    def is_congested(self, peer: str) -> bool:
        link = self.mesh.links.get(peer)
        if link is None or link.is_congested:
            return True
        # What waits for the disk is one frame, which a peer takes up to a size.
        return self._outbox_bytes[link] > WRITE_BUFFER_BYTES_MAX

    def needs_snapshot(self, peer: str) -> None:
        self._hooks.needs_snapshot(peer)

    def configured(self, configuration: Configuration) -> None:
        """Keep a link to every member; this node's own word on an address beats the log's."""
        known = {member.id: member.raft for member in configuration.members}
        self.mesh.set_peers({**known, **self._addresses, **self._learners})
        self.mesh.cluster_id = configuration.cluster_id

    def learn(self, peer: str, address: str) -> None:
        """Dial *peer* and have it catch up, until a configuration makes it a member."""
        self._learners[peer] = address
        self.engine.learn(peer)
        self.configured(self.engine.configuration)

    def unlearn(self, peer: str) -> None:
        """No longer send to *peer* as a learner; a member it may have become."""
        self._learners.pop(peer, None)
        self.engine.forget(peer)
        self.configured(self.engine.configuration)

    # The loop.

    def _on_timer(self) -> None:
        if self.is_stopped:
            return  # One that has failed is to be missed.
        self._timer = self._loop.call_later(self._timing.heartbeat / 3, self._on_timer)
        if self._is_writing:
            self.engine.mind_the_disk(self._loop.time() - self._written_at)
        self.turn()

    def turn(self) -> None:
        """Tick now, in place of what `wake` has asked for. Never from within a hook."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self.is_stopped:
            return
        try:
            reach("driver.before_tick")
            self.engine.tick()
            reach("driver.after_tick")
            self._flush()  # First: the disk and the others work while this node applies.
            if self.engine.apply_committed():
                self.wake()
            self._hooks.engine_moved()
        except Exception as error:  # noqa: BLE001 - a bug stops the node rather than its meaning.
            self.fail(error)

    def _flush(self) -> None:
        """Release the outbox, behind the generation that it depends on."""
        if self._is_writing:
            return  # What has come since goes with the next generation.
        outbox, self._outbox = self._outbox, []
        self._outbox_bytes.clear()
        if not self._log.is_dirty:
            reach("driver.before_delivery")
            _deliver(outbox)
            return
        reach("driver.before_generation")
        self._is_writing = True
        self._written_at = self._loop.time()
        generation = self._log.seal()
        if generation.is_plain and self.engine.may_send_ahead:
            _deliver([each for each in outbox if each[1]["type"] in AHEAD])
            outbox = [each for each in outbox if each[1]["type"] not in AHEAD]
            reach("driver.after_delivery_ahead")
        self._writer = self._loop.run_in_executor(self._log_thread, self._log.write, generation)
        self._writer.add_done_callback(partial(self._written, generation, outbox))

    def _written(
        self,
        generation: Generation,
        outbox: list[tuple[Link, Message]],
        writer: asyncio.Future[None],
    ) -> None:
        """Go on once *generation* is durable: what depended on it may leave and be applied."""
        try:
            writer.result()
        except OSError as error:
            self.fail(StorageError(f"the log cannot be written: {error}"))
            return
        except Exception as error:  # noqa: BLE001 - a bug stops the node rather than its meaning.
            self.fail(error)
            return
        reach("driver.after_durable")
        self._log.written(generation)
        self._is_writing = False
        try:
            _deliver(outbox)
        except WireError as error:
            self.fail(error)  # Unsaid, it would leave the others waiting for ever.
            return
        reach("driver.after_durable_delivery")
        if self._outbox or self._log.is_dirty or self.engine.has_work:
            self.turn()

    def fail(self, error: BaseException) -> None:
        """Stop this node: going on would risk a promise."""
        self.is_stopped = True
        self._hooks.failed(error)


def _seen(link: Link) -> Seen:
    assert link.greeting is not None, "who is linked has greeted"
    return Seen(link.heard_at, link.greeting.http)


def _deliver(outbox: list[tuple[Link, Message]]) -> None:
    """Write each link's messages as one frame, in order."""
    by_link: dict[Link, list[Message]] = {}
    for link, message in outbox:
        by_link.setdefault(link, []).append(message)
    for link, messages in by_link.items():
        link.write(pack_frame(Channel.RAFT, messages))
