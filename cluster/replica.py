"""The replica: what everything above knows of the cluster. It proposes, reads, watches, tells.

It owns batching, forwarding to the leader and the fate of every proposal; it knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from typing import Any, TypeVar

from cluster import codec
from cluster.answers import Answered, Committed, Consistency
from cluster.barriers import Barriers
from cluster.core.commands import Command
from cluster.core.machine import Machine
from cluster.core.queries import Query
from cluster.crashpoints import reach
from cluster.errors import (
    ChangeRefused,
    ConfigurationError,
    NoQuorum,
    NotCaughtUp,
    Overloaded,
    WireError,
)
from cluster.host import Host, RealHost
from cluster.leading import NOBODY, Handed, Leading
from cluster.proposals import Parcel, Proposal, Proposals
from cluster.raft.contract import Start, Timing
from cluster.raft.driver import Driver
from cluster.raft.identity import claim
from cluster.raft.log import Log
from cluster.raft.membership import unformed
from cluster.raft.security import Security
from cluster.raft.snapshots import Place
from cluster.raft.storage import Storage
from cluster.raft.transport import Link
from cluster.raft.wire import WIRE_VERSION, Channel, Greeting
from cluster.settings import ReplicaSettings
from cluster.snapshotting import Snapshots, restore
from cluster.status import ClusterStatus, View
from cluster.steering import Steering
from cluster.watching import Watch

R = TypeVar("R")
A = TypeVar("A")

PROPOSE_TIMEOUT_SECONDS = 5.0  # How long a write or a read waits for a leader.
CHANGE_TIMEOUT_SECONDS = 90.0  # How long a change of members may take, catching up included.
WAITING_MAX = 20_000  # Proposals that may wait for a leader; more are refused at once.
_REFUSED_SECONDS = 0.05
_EXPIRY_SECONDS = 0.1  # How finely timeouts are kept.


class Replica:
    """One node's part of the replicated machine. Everything runs on the loop that started it."""

    def __init__(
        self,
        settings: ReplicaSettings,
        *,
        host: Host,
        storage: Storage,
        log: Log,
        me: Greeting,
        machine: Machine,
        start: Start,
    ) -> None:
        self.node_id = settings.node_id
        self.settings = settings
        self.machine = machine
        self._loop = asyncio.get_running_loop()
        self._storage = storage
        self._log_thread = host.open_log_thread()
        timing = Timing()
        self._driver = Driver(
            greeting=me,
            addresses=settings.members,
            start=start,
            bind=settings.raft_bind or settings.members[settings.node_id],
            log=log,
            log_thread=self._log_thread,
            hooks=self,
            timing=timing,
            security=Security.of(secret=settings.secret, tls=settings.tls),
            random=host.random,
            nonce=host.token,
        )
        self._engine = self._driver.engine
        self._snapshots = Snapshots(
            host=host,
            storage=storage,
            driver=self._driver,
            machine=machine,
            log_thread=self._log_thread,
            log_bytes=settings.snapshot_bytes,
            tail_bytes=settings.tail_bytes,
            tail_entries=settings.tail_entries,
            on_installed=self._snapshot_installed,
        )
        self._steering = Steering(self._driver)
        self._view = View(settings, driver=self._driver, machine=machine, timing=timing)
        self._proposals = Proposals()
        self._barriers = Barriers(self._driver)
        self._origin = f"{settings.node_id}/{host.token()}"  # Another after each start.
        self._leading = Leading(
            self._driver,
            self.machine,
            wall_ms=host.wall_ms,
            lease_ms=round(settings.lease_seconds * 1000),
            dispatch=self._dispatch_soon,
        )
        self._is_dispatching = False
        self._pause: asyncio.TimerHandle | None = None  # Until the leader is handed parcels again.
        self._leadership: tuple[object, ...] = ()
        self._was_serving = False
        self._applied_term = 0
        self._applied_waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waits = 0  # Tells waiters for the same index apart, in the order they came.
        self._watches: dict[Watch, None] = {}
        self._failed: asyncio.Future[BaseException] = self._loop.create_future()
        self._expiry: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, settings: ReplicaSettings, host: Host | None = None) -> Replica:
        """Recover from the data directory, bind, and join the others.

        Raises:
            StorageError: the data directory is damaged, foreign or not writable.
            ConfigurationError: the settings contradict each other.
            OSError: the Raft address cannot be bound.
        """
        if settings.node_id not in settings.members:
            raise ConfigurationError(
                f"node {settings.node_id!r} is not among the cluster's members "
                f"({', '.join(sorted(settings.members))}); name it in --cluster"
            )
        host = host or RealHost()
        storage = host.open_storage(settings.data)
        try:
            identity = claim(
                storage,
                node_id=settings.node_id,
                incarnation=host.token(),
            )
            machine, place = await restore(storage)
            log = Log.recover(storage, segment_bytes=settings.segment_bytes)
            start = Start(configuration=unformed(settings.members))
            if place is not None:
                start = Start(configuration=place.configuration, index=place.log_index)
            log.begin_after_snapshot(place.log_index if place else 0, place.term if place else 0)
            me = Greeting(
                WIRE_VERSION, "", settings.node_id, identity.incarnation, settings.http, ""
            )
            replica = cls(
                settings,
                host=host,
                storage=storage,
                log=log,
                me=me,
                machine=machine,
                start=start,
            )
            await replica._driver.start()
        except BaseException:
            storage.close()
            raise
        replica._expire()
        return replica

    async def stop(self) -> None:
        """Hand leadership over if this node leads, then leave the loop clean.

        Whoever still waits for a proposal is told that its outcome is unknown.
        """
        if self._engine.is_serving and not self._failed.done():
            with contextlib.suppress(ChangeRefused):  # Then the others elect one by themselves.
                await self._steering.hand_over(None)
        await self._steering.stop()
        for timer in (self._expiry, self._pause):
            if timer is not None:
                timer.cancel()
        self._leading.stop()
        await self._snapshots.stop()
        await self._driver.stop()
        self._proposals.expire(float("inf"))
        for watch in list(self._watches):
            watch.close()
        self._log_thread.shutdown()
        self._storage.close()

    async def wait_failed(self) -> BaseException:
        """Wait for what must stop the process (a failed fsync, a foreign log): it never heals."""
        return await asyncio.shield(self._failed)

    async def propose(
        self, command: Command[R], *, timeout_seconds: float = PROPOSE_TIMEOUT_SECONDS
    ) -> Committed[R]:
        """Commit *command* through the leader, wherever it is, and return the machine's reply.

        Raises:
            NotCommitted: it did not and will not happen; safe to repeat.
            OutcomeUnknown: it may have happened; repeat it only with the same id.
        """
        if len(self._proposals) >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} commands already wait for a leader; repeat it later")
        future = self._loop.create_future()
        deadline = self._loop.time() + timeout_seconds
        self._proposals.add(Proposal(codec.pack_command(command), future, deadline))
        self._dispatch_soon()
        outcome = await future
        return Committed(outcome.reply, outcome.log_index, outcome.term)

    async def read(
        self,
        query: Query[A],
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        min_index: int = 0,
        timeout_seconds: float = PROPOSE_TIMEOUT_SECONDS,
    ) -> Answered[A]:
        """Answer *query* from a state at least as new as asked for.

        Raises:
            NoQuorum: no leader confirmed the read in time.
            NotCaughtUp: this node has not applied *min_index* in time.
        """
        deadline = self._loop.time() + timeout_seconds
        index = min_index
        if consistency is Consistency.LINEARIZABLE:
            index = max(index, await self._read_index(deadline))
        await self._wait_applied(index, deadline)
        return Answered(
            self.machine.answer(query),
            self._engine.applied_index,
            self._engine.term,
            self._view.staleness_seconds(),
        )

    async def add_member(
        self, node_id: str, raft: str, *, timeout_seconds: float = CHANGE_TIMEOUT_SECONDS
    ) -> None:
        """Have *node_id*, which runs at *raft*, catch up and then vote.

        Raises:
            ChangeRefused: it is a member, did not catch up, or another change is under way.
            NoQuorum: no leader was reached.
            OutcomeUnknown: it may have become a member.
        """
        await self._steering.ask("add", node_id, raft, timeout_seconds=timeout_seconds)

    async def remove_member(
        self, node_id: str, *, timeout_seconds: float = CHANGE_TIMEOUT_SECONDS
    ) -> None:
        """Have *node_id* count no longer. Raises as `add_member` does."""
        await self._steering.ask("remove", node_id, timeout_seconds=timeout_seconds)

    async def change_leader(
        self, to: str | None = None, *, timeout_seconds: float = PROPOSE_TIMEOUT_SECONDS
    ) -> None:
        """Have *to* lead, or whichever member is furthest. Raises as `add_member` does."""
        await self._steering.ask("lead", to, timeout_seconds=timeout_seconds)

    def watch(self) -> Watch:
        """Every event that this node applies from this call on, in order; close it when done."""
        watch = Watch(lambda closed: self._watches.pop(closed, None))
        self._watches[watch] = None
        return watch

    def status(self) -> ClusterStatus:
        """This node's own view of the cluster, now."""
        return self._view.now()

    # What the driver tells (driver.DriverHooks).

    def apply(self, index: int, term: int, command: bytes | None) -> None:
        if term > self._applied_term:
            self._applied_term = term
            self._proposals.term_applied(term)
        if command is None:
            return
        entry = codec.unpack_entry(command)
        reach("replica.before_entry")
        applied = self.machine.apply_entry(
            [command for group in entry.groups for command in group.commands],
            index=index,
            term=term,
            cluster_time_ms=entry.cluster_time_ms,
            wall_time_ms=entry.wall_time_ms,
        )
        self.machine.seal(command, codec.pack_outcome(applied.replies, applied.events))
        reach("replica.before_answers")
        start = 0
        for group in entry.groups:
            stop = start + len(group.commands)
            if group.origin == self._origin:
                self._proposals.committed(group.request, applied.replies[start:stop], index, term)
            elif group.origin == NOBODY:
                self._leading.tick_applied()
            start = stop
        for watch in self._watches:
            watch.push(applied.events)

    def engine_moved(self) -> None:
        engine = self._engine
        leadership = (engine.term, engine.leader, self._leader_link())
        if leadership != self._leadership:
            self._leadership = leadership
            self._leader_changed()
        if engine.is_serving != self._was_serving:
            self._was_serving = engine.is_serving
            if self._was_serving:
                self._leading.begin()
        self._barriers.advance()
        self._steering.moved()
        self._wake_applied_waiters()
        self._snapshots.consider()
        if self._was_serving:
            self._leading.plan_tick()
        if len(self._proposals):
            self._dispatch_soon()

    def peer_message(self, peer: str, channel: Channel, content: Any) -> None:
        if channel is Channel.SNAPSHOT:
            self._snapshots.message(peer, content)
            return
        match content:
            case ["propose", int(term), str(origin), int(number), list(commands)]:
                self._leading.take(Handed(peer, term, origin, number, commands))
            case ["refuse", str(origin), int(number)]:
                if origin == self._origin:
                    self._proposals.refused(number)
                    self._pause_forwarding()
            case ["read", int(request)]:
                self._barriers.add(
                    lambda index: _ignore(self._driver.tell(peer, ["read_at", request, index]))
                )
                self._driver.wake()
            case ["steer" | "steered", *_]:
                self._steering.message(peer, content)
            case ["read_at", int(request), int(index)]:
                self._barriers.answered(request, index)
            case _:
                raise WireError(f"a message between replicas cannot be understood: {content!r:.80}")

    def needs_snapshot(self, peer: str) -> None:
        self._snapshots.send(peer)

    def link_down(self, peer: str) -> None:
        self._snapshots.link_down(peer)

    def _snapshot_installed(self, place: Place) -> None:
        """The state jumped: no parcel in flight can be found, and watchers missed events."""
        self._applied_term = max(self._applied_term, place.term)
        self._proposals.skipped()
        for watch in self._watches:
            watch.skip()

    def failed(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_result(error)
        self._proposals.expire(float("inf"))

    # Proposals on their way to the log.

    def _dispatch_soon(self) -> None:
        """Hand over in this turn of the loop all that was proposed in it."""
        if not self._is_dispatching:
            self._is_dispatching = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._is_dispatching = False
        engine = self._engine
        if engine.is_serving:
            for parcel in self._proposals.take_parcels(engine.term):
                self._leading.add(self._origin, parcel.number, parcel.commands())
            self._leading.append_entries()
        elif self._leader_link() is not None and self._pause is None:
            for parcel in self._proposals.take_parcels(engine.term):
                self._forward(parcel)

    def _pause_forwarding(self) -> None:
        """Leave a leader that refuses alone for a moment: it may not know yet that it leads."""
        if self._pause is None:
            self._pause = self._loop.call_later(_REFUSED_SECONDS, self._resume_forwarding)

    def _resume_forwarding(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._dispatch_soon()

    def _forward(self, parcel: Parcel) -> None:
        leader = self._engine.leader
        assert leader is not None
        reach("replica.before_forward")
        self._driver.tell(
            leader, ["propose", parcel.term, self._origin, parcel.number, parcel.commands()]
        )

    # Changes of leadership.

    def _leader_link(self) -> Link | None:
        leader = self._engine.leader
        return None if leader is None else self._driver.mesh.links.get(leader)

    def _leader_changed(self) -> None:
        self._leading.leader_changed()
        self._barriers.leader_changed()
        if self._leader_link() is not None:
            for parcel in self._proposals.sent_in(self._engine.term):
                self._forward(parcel)
        self._resume_forwarding()

    # Reads.

    async def _read_index(self, deadline: float) -> int:
        future: asyncio.Future[int] = self._loop.create_future()
        self._barriers.add(lambda index: None if future.done() else future.set_result(index))
        self._driver.wake()
        try:
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise NoQuorum("no leader confirmed the read in time") from None

    async def _wait_applied(self, index: int, deadline: float) -> None:
        if index <= self._engine.applied_index:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waits += 1
        heapq.heappush(self._applied_waiters, (index, self._waits, future))
        try:
            async with asyncio.timeout_at(deadline):
                await future
        except TimeoutError:
            raise NotCaughtUp(
                f"this node has applied {self._engine.applied_index}, not yet {index}"
            ) from None

    def _wake_applied_waiters(self) -> None:
        applied = self._engine.applied_index
        while self._applied_waiters and self._applied_waiters[0][0] <= applied:
            future = heapq.heappop(self._applied_waiters)[2]
            if not future.done():
                future.set_result(None)

    def _expire(self) -> None:
        self._expiry = self._loop.call_later(_EXPIRY_SECONDS, self._expire)
        self._proposals.expire(self._loop.time())


def _ignore(_: object) -> None:
    """Drop what a call returned."""
