"""What a node is to the cluster: the parts of its replica, and what the driver tells them.

It goes on whether or not anyone here asks for anything; what may be asked is `replica.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Self

from cluster import codec
from cluster.applied import AppliedWaiters
from cluster.backlog import Backlog
from cluster.barriers import Barriers
from cluster.caretaking import Caretaker, check_version
from cluster.core.machine import Machine
from cluster.crashpoints import reach
from cluster.dispatching import Dispatcher
from cluster.errors import ChangeRefused, WireError
from cluster.host import Host, RealHost
from cluster.leading import Leading
from cluster.proposals import Proposals
from cluster.raft.contract import Timing
from cluster.raft.driver import Driver, DriverHooks
from cluster.raft.security import Security
from cluster.raft.snapshots import Place
from cluster.raft.wire import WIRE_VERSION, Channel, Greeting
from cluster.recovery import Recovered, recover
from cluster.settings import ReplicaSettings
from cluster.snapshotting import Snapshots
from cluster.status import View
from cluster.steering import Steering
from cluster.watching import Watches


class Participant:
    """One node's part of the replicated machine. Everything runs on the loop that started it.

    propose   Proposals keep what waits; the Dispatcher brings it to the leader, whose Leading
              stamps and appends it; the Driver makes it durable and commits it
    apply     on every node: the machine moves, Proposals answer, Watches tell
    read      Barriers find the index to be seen, AppliedWaiters wait until it is applied
    members   Steering; who falls far behind is sent one of the Snapshots
    """

    def __init__(self, settings: ReplicaSettings, *, host: Host, recovered: Recovered) -> None:
        self.node_id = settings.node_id
        self.settings = settings
        self.machine = machine = recovered.machine
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[BaseException] = self._loop.create_future()
        self.sync_seconds = host.sync_seconds
        self._storage = recovered.storage
        self._log_thread = host.open_log_thread()
        timing = Timing.of(settings.election_seconds)
        self._driver = driver = _open_driver(
            settings, host, recovered, hooks=self, timing=timing, log_thread=self._log_thread
        )
        self._engine = driver.engine
        self._view = View(settings, driver=driver, machine=machine, timing=timing)
        self._snapshots = Snapshots(
            settings=settings,
            host=host,
            storage=recovered.storage,
            driver=driver,
            machine=machine,
            log_thread=self._log_thread,
            on_installed=self._snapshot_installed,
        )
        self._steering = Steering(driver)
        self._barriers = Barriers(driver)
        self._applied_waiters = AppliedWaiters(lambda: driver.engine.applied_index)
        self._watches = Watches(machine)
        self._backlog = _open_backlog(settings)
        self._proposals = Proposals(self._backlog)
        self._leading = _open_leading(
            settings, host, driver=driver, machine=machine, dispatch=self._dispatch_soon
        )
        self._caretaker = Caretaker(
            driver, machine, leading=self._leading, newest_version=settings.newest_version
        )
        self._dispatcher = Dispatcher(
            driver,
            proposals=self._proposals,
            leading=self._leading,
            origin=f"{settings.node_id}/{host.token()}",  # Another after each start.
        )
        self._leadership: tuple[object, ...] = ()
        self._was_serving = False
        self._applied_term = 0

    @classmethod
    async def start(cls, settings: ReplicaSettings, host: Host | None = None) -> Self:
        """Recover from the data directory, bind, and join the others.

        Raises:
            StorageError: the data directory is damaged, foreign or not writable.
            ConfigurationError: the settings contradict each other.
            OSError: the Raft address cannot be bound.
        """
        host = host or RealHost()
        recovered = await recover(settings, host)
        try:
            replica = cls(settings, host=host, recovered=recovered)
            await replica._driver.start()
        except BaseException:
            recovered.storage.close()
            raise
        return replica

    async def stop(self) -> None:
        """Hand leadership over if this node leads, then leave the loop clean.

        Whoever still waits for a proposal is told that its outcome is unknown.
        """
        if self._engine.is_serving and not self._failed.done():
            with contextlib.suppress(ChangeRefused):  # Then the others elect one by themselves.
                await self._steering.hand_over(None)
        await self._steering.stop()
        self._dispatcher.stop()
        self._leading.stop()
        await self._driver.stop()  # First: what a peer says now must not begin another transfer.
        await self._snapshots.stop()
        self._proposals.expire(float("inf"))
        self._watches.close()
        self._log_thread.shutdown()
        self._storage.close()

    async def wait_failed(self) -> BaseException:
        """Wait for what must stop the process (a failed fsync, a foreign log): it never heals."""
        return await asyncio.shield(self._failed)

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
        self._view.entry_applied()
        check_version(self.machine, newest=self.settings.newest_version)
        self.machine.seal(command, codec.pack_outcome(applied.replies, applied.events))
        reach("replica.before_answers")
        self._leading.applied(index)
        self._dispatcher.applied(entry.groups, applied.replies, index, term)
        self._watches.push(applied.events)

    def engine_moved(self) -> None:
        engine = self._engine
        leadership = (engine.term, engine.leader, self._driver.leader_link)
        if leadership != self._leadership:
            self._leadership = leadership
            self._leader_changed()
        if engine.is_serving != self._was_serving:
            self._was_serving = engine.is_serving
            if self._was_serving:
                self._leading.begin()
                self._caretaker.begin()
        self._barriers.advance()
        self._steering.moved()
        self._applied_waiters.moved()
        self._snapshots.consider()
        if self._was_serving:
            self._caretaker.look()
            self._leading.plan_tick()
        if self._proposals.is_any_waiting:
            self._dispatcher.dispatch_soon()

    def peer_message(self, peer: str, channel: Channel, content: Any) -> None:
        if channel is Channel.SNAPSHOT:
            self._snapshots.message(peer, content)
            return
        match content:
            case ["propose" | "refuse", *_]:
                self._dispatcher.message(peer, content)
            case ["read" | "read_at", *_]:
                self._barriers.message(peer, content)
            case ["steer" | "steered", *_]:
                self._steering.message(peer, content)
            case _:
                raise WireError(f"a message between replicas cannot be understood: {content!r:.80}")

    def needs_snapshot(self, peer: str) -> None:
        self._snapshots.send(peer)

    def link_down(self, peer: str) -> None:
        self._snapshots.link_down(peer)
        self._barriers.link_down(peer)
        self._leading.link_down(peer)
        self._steering.link_down(peer)

    def _snapshot_installed(self, place: Place) -> None:
        """The state jumped: no parcel in flight can be found, and readers catch up."""
        self._applied_term = max(self._applied_term, place.term)
        self._proposals.skipped()
        self._watches.jumped()

    def failed(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_result(error)
        self._proposals.expire(float("inf"))

    def _dispatch_soon(self) -> None:
        self._dispatcher.dispatch_soon()

    def _leader_changed(self) -> None:
        self._leading.leader_changed()
        self._barriers.leader_changed()
        self._dispatcher.leader_changed()
        self._snapshots.leader_changed()


def _open_leading(
    settings: ReplicaSettings,
    host: Host,
    *,
    driver: Driver,
    machine: Machine,
    dispatch: Callable[[], None],
) -> Leading:
    return Leading(
        driver,
        machine,
        backlog=_open_backlog(settings),
        wall_ms=host.wall_ms,
        lease_ms=round(settings.lease_seconds * 1000),
        memory_bytes_max=settings.memory_bytes_max,
        dispatch=dispatch,
    )


def _open_backlog(settings: ReplicaSettings) -> Backlog:
    return Backlog(commands_max=settings.backlog_commands, bytes_max=settings.backlog_bytes)


def _open_driver(
    settings: ReplicaSettings,
    host: Host,
    recovered: Recovered,
    *,
    hooks: DriverHooks,
    timing: Timing,
    log_thread: Executor,
) -> Driver:
    identity = recovered.identity
    return Driver(
        greeting=Greeting(
            WIRE_VERSION,
            "",
            identity.node_id,
            identity.incarnation,
            settings.http,
            "",
            settings.newest_version,
        ),
        addresses=settings.members,
        start=recovered.start,
        bind=settings.raft_bind or settings.members[settings.node_id],
        log=recovered.log,
        log_thread=log_thread,
        hooks=hooks,
        timing=timing,
        security=Security.of(secret=settings.secret, tls=settings.tls),
        random=host.random,
        nonce=host.token,
    )
