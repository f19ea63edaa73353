"""What only a leader does: take in what the others hand over, stamp it, and mind the deadlines.

A leader takes a parcel only in the term that it was sent for, at most once, and not before it
serves. While more is in its log than it has applied, it refuses by class of traffic (`backlog.py`).
Both clocks are read here alone: cluster time goes on where the log left it and stands still while
nobody leads; wall time is the calendar's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cluster import codec
from cluster.backlog import Backlog, Traffic, traffic_of
from cluster.core.commands import BeginTerm, Command, Tick
from cluster.core.machine import Deadline, Machine
from cluster.crashpoints import reach
from cluster.errors import Overloaded, UnsupportedVersion
from cluster.raft.driver import Driver

logger = logging.getLogger(__name__)

NOBODY = ""  # The origin of what the leader proposes for the cluster itself.
HEARTBEATS_PER_LEASE = 3  # A session outlives two lost heartbeats.
ENTRY_BYTES = 4 * 1024 * 1024  # Beyond it what waits is parted into several log entries.


class Handed(NamedTuple):
    """A parcel as another node handed it over."""

    peer: str
    term: int
    origin: str
    number: int
    commands: list[bytes]


class Leading:
    """This node's part as a leader; idle while it follows."""

    def __init__(
        self,
        driver: Driver,
        machine: Machine,
        *,
        backlog: Backlog,
        wall_ms: Callable[[], int],
        lease_ms: int,
        memory_bytes_max: int | None,
        dispatch: Callable[[], None],
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._machine = machine
        self.backlog = backlog  # What this leader took in and has not applied.
        self._wall_ms = wall_ms
        self._lease_ms = lease_ms
        self._memory_bytes_max = memory_bytes_max
        self._dispatch = dispatch  # Has `append_entries` called in this turn of the loop.
        self._loop = asyncio.get_running_loop()
        self._intake: list[tuple[str, int, list[bytes]]] = []  # For the next entries.
        self._appended: deque[tuple[int, int, int]] = deque()  # Index, commands, bytes.
        self._held: list[Handed] = []  # Until this leader serves.
        self._taken: dict[str, int] = {}  # Origin -> the newest parcel taken in `_taken_term`.
        self._taken_term = 0
        self._started_term = driver.engine.term  # What was taken in it before is forgotten.
        self._begun_term = 0
        self._clock_base_ms = 0
        self._clock_start = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._planned: Deadline | None = None  # What the timer is set to.
        self._planned_index = -1  # The state that it was read from; -1: it has to be read again.
        self._is_own_open = False

    def begin(self) -> None:
        """Begin to serve: go on with cluster time, and give every session its grace.

        After a hand-over that came to nothing the term goes on, and with it what was taken in.
        """
        if self._begun_term == self._engine.term:
            self._retake_held()
            self._dispatch()
            return
        self._begun_term = self._engine.term
        self._clock_base_ms = self._machine.cluster_time_ms
        self._clock_start = self._loop.time()
        self._planned_index = -1
        self._is_own_open = False
        reach("leading.begins")
        begin = BeginTerm(
            self._engine.node_id,
            lease_ms=self._lease_ms,
            heartbeat_ms=self._lease_ms // HEARTBEATS_PER_LEASE,
            memory_bytes_max=self._memory_bytes_max,
        )
        self._forget()
        self.add(NOBODY, 0, [codec.pack_command(begin)])
        self._retake_held()
        self._dispatch()
        logger.info("%s leads term %d", self._engine.node_id, self._engine.term)

    def leader_changed(self) -> None:
        """Refuse what was held for a leadership that is over, drop what it had not appended."""
        if not self._engine.is_leader:
            self._forget()
        self._retake_held()

    def link_down(self, peer: str) -> None:
        """Forget what *peer* handed over and was not looked at: it hands it over again."""
        self._held = [handed for handed in self._held if handed.peer != peer]

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def add(self, origin: str, number: int, commands: list[bytes]) -> None:
        """Take in a parcel of this node's own, which has looked at the backlog."""
        self.backlog.add(len(commands), sum(map(len, commands)))
        self._intake.append((origin, number, commands))

    def take(self, handed: Handed) -> None:
        """Take in what another node hands over, or tell it that it is certainly refused.

        Raises:
            WireError: it is not commands: in the log it would stop every node, at every start.
        """
        try:
            commands = codec.unpack_commands(handed.commands)
        except UnsupportedVersion as error:
            logger.warning("refused what %s hands over: %s", handed.peer, error)
            self._refuse(handed)
            return
        engine = self._engine
        if not engine.is_leader or engine.term != handed.term:
            if self._is_certainly_not_taken(handed):
                self._refuse(handed)
        elif self._was_taken(handed):
            return  # Sent again over a new link: the log decides its fate.
        elif not engine.is_serving:
            self._held.append(handed)
        elif self._is_too_much(commands):
            self._refuse(handed, is_overloaded=True)
        else:
            if self._taken_term != handed.term:
                self._taken_term, self._taken = handed.term, {}
            self._taken[handed.origin] = handed.number
            self.add(handed.origin, handed.number, handed.commands)
            self._dispatch()

    def append_entries(self) -> None:
        """Make log entries of what was taken in, each stamped with both clocks."""
        while self._intake:
            size = commands = count = 0
            for _, _, packed in self._intake:
                group_size = sum(map(len, packed))
                if count and size + group_size > ENTRY_BYTES:
                    break
                size += group_size
                commands += len(packed)
                count += 1
            groups, self._intake = self._intake[:count], self._intake[count:]
            reach("leading.before_append")
            index, _ = self._engine.append(codec.pack_entry(*self._stamp(), groups))
            self._appended.append((index, commands, size))

    def applied(self, index: int) -> None:
        """Note that this node has applied all up to *index*."""
        while self._appended and self._appended[0][0] <= index:
            self.backlog.remove(*self._appended.popleft()[1:])

    def plan_tick(self) -> None:
        """Set the timer to the machine's next deadline, by whichever clock comes first."""
        if self._is_own_open or self._planned_index == self._machine.applied_index:
            return
        self._planned_index = self._machine.applied_index
        deadline = self._machine.next_deadline()
        if deadline == self._planned and self._timer is not None:
            return
        self.stop()
        self._timer, self._planned = None, deadline
        cluster_ms, wall_ms = self._stamp()
        waits = [
            due - now
            for due, now in ((deadline.cluster_ms, cluster_ms), (deadline.wall_ms, wall_ms))
            if due is not None
        ]
        if waits:
            self._timer = self._loop.call_later(max(0, min(waits)) / 1000, self._tick)

    def decide(self, command: Command[Any]) -> None:
        """Propose what the cluster itself calls for, unless an earlier such thing is under way."""
        if self._engine.is_serving and not self._is_own_open:
            self._is_own_open = True
            self.add(NOBODY, 0, [codec.pack_command(command)])
            self._dispatch()

    def own_applied(self) -> None:
        """Note that what this leader proposed for the cluster was applied."""
        self._is_own_open = False

    def _tick(self) -> None:
        self._timer, self._planned_index = None, -1
        reach("leading.before_tick_proposed")
        self.decide(Tick())

    def _forget(self) -> None:
        """Drop what was taken in and not appended; no longer count what was."""
        self._intake.clear()
        self._appended.clear()
        self.backlog.clear()

    def _refuse(self, handed: Handed, *, is_overloaded: bool = False) -> None:
        self._driver.tell(handed.peer, ["refuse", handed.origin, handed.number, is_overloaded])

    def _is_too_much(self, commands: Sequence[Command[Any]]) -> bool:
        is_submission = any(traffic_of(each) is Traffic.SUBMISSION for each in commands)
        try:
            self.backlog.check(Traffic.SUBMISSION if is_submission else Traffic.UPKEEP)
        except Overloaded:
            return True
        return False

    def _was_taken(self, handed: Handed) -> bool:
        newest = self._taken.get(handed.origin, 0)
        return handed.term == self._taken_term and handed.number <= newest

    def _is_certainly_not_taken(self, handed: Handed) -> bool:
        """Whether this node never led that term, or remembers all that it took in it.

        Of a term from before its last start, or before the last one that it led, it does not: then
        it says nothing, and the log decides.
        """
        if handed.term == self._taken_term:
            return not self._was_taken(handed)
        return handed.term > max(self._started_term, self._taken_term)

    def _retake_held(self) -> None:
        held, self._held = self._held, []
        for handed in held:
            self.take(handed)

    def _stamp(self) -> tuple[int, int]:
        elapsed_ms = round((self._loop.time() - self._clock_start) * 1000)
        return self._clock_base_ms + elapsed_ms, self._wall_ms()
