"""A worker's session, sans I/O: what it is told and asks of a node, what it runs and must stop.

Pure state: no socket, no clock, no task. What happens is told by the methods; what is to be done
comes out of `actions`, in order, for `node.worker` to carry out over whatever wire. A lease is
given up only when the cluster says that it is lost, never by a clock of ours.

What was asked and not answered when a connection ended is asked again on the next one: each
statement is absolute or carries a lease token, so that a repeat changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from node.actions import NOW, Action, Ask, Description, Joined, MoveOn, Object, Start, Stop
from node.outcomes import Completed, Failed, Outcome, unspeakable

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5  # After a node had too much to do, before it is asked again.
_FULL = 429
FAILURES_MAX = 10  # Of nodes over one word of a run; then it is taken for what breaks them.
_FAILED = 500
_CANNOT_FROM = 500  # What was asked may have happened, and is asked again, elsewhere.
_SESSION_OVER = frozenset({"worker_unknown", "worker_lost"})


class Hold(Enum):
    """Where a lease in our hands stands."""

    RUNNING = auto()
    REPORTING = auto()  # Its run is over; the outcome is on its way and must not be lost.
    LOST = auto()  # The cluster took it back; its run has yet to stop, and no outcome counts.


@dataclass(slots=True)
class _Held:
    """A lease, and what is to be told of its run."""

    task_id: str
    hold: Hold = Hold.RUNNING
    outcome: Outcome | None = None
    untold: tuple[Any] | None = None  # Progress that was not answered yet.
    sent: tuple[Any] | None = None  # What the call in flight says of it.
    is_telling: bool = False  # A call about it is in flight.
    failures: int = 0  # Of nodes over this word.


class Session:
    """One worker's leases and slots, across as many connections and registrations as it takes."""

    def __init__(self, description: Description, new_id: Callable[[], str]) -> None:
        self.actions: list[Action] = []
        self.worker_id = ""
        self.heartbeat_seconds: float | None = None  # None until it was registered.
        self.is_draining = False
        self.has_left = False
        self.refused: tuple[int, Object] | None = None  # Status and problem: we are not taken.
        self._description = description
        self._new_id = new_id
        self._held: dict[int, _Held] = {}
        self._tokens_by_task: dict[str, int] = {}  # Not those of lost leases.
        self._connection = 0
        self._is_connected = False
        self._has_given_up = False  # It leaves on every connection, whatever still runs.
        self._is_leaving = False  # It was said on this connection.
        self._epoch = 0  # Of the newest offer.
        self._offered: int | None = None  # The slots that it stated; None: this session had none.

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits to be reported."""
        return not self._held

    @property
    def tokens(self) -> tuple[int, ...]:
        """The leases that a heartbeat names."""
        # A snapshot first: the heartbeat's thread reads while the worker's loop changes it.
        return tuple(token for token, held in list(self._held.items()) if held.hold != Hold.LOST)

    def take_actions(self) -> list[Action]:
        """What is to be done now, in order."""
        actions, self.actions = self.actions, []
        return actions

    # What happens to the connection.

    def connected(self) -> None:
        """Introduce ourselves on a new connection, and say again what was not answered."""
        self._connection += 1
        self._is_connected = True
        self._is_leaving = False
        if self.heartbeat_seconds is None:
            self._register()
        else:
            self._offer()
        for token, held in self._held.items():
            held.is_telling = False
            self._tell(token, held)
        self._leave_if_done()

    def disconnected(self) -> None:
        """Keep what was to be said for the next connection."""
        self._is_connected = False

    def pushed(self, kind: str, content: Any) -> None:
        """Take what the node says unasked; what this program does not know it does not need."""
        if kind == "leased":
            for lease in content:
                self._take(lease)
        elif kind == "orders":
            self.ordered(content)
        elif kind == "gone":
            self._begin_anew()
        elif kind == "leaving":
            self.actions.append(MoveOn("it is stopping"))

    def ordered(self, orders: Object) -> None:
        """Do what the cluster orders: drop what is lost, stop what was cancelled, drain."""
        if lost := self._lose(orders["lost"]):
            log.warning("leases lost: %s; stopping their runs", ", ".join(map(str, lost)))
        for task_id in orders["cancel"]:
            token = self._tokens_by_task.get(task_id)
            if token is not None and self._is_running(token):
                self.actions.append(Stop(token))
        if orders["drain"]:
            self.drain()

    def ended(self, worker_id: str) -> None:
        """Note that the cluster knows this registration no more."""
        if worker_id == self.worker_id:
            self._begin_anew()

    def answered(self, ask: Ask, status: int, value: Object) -> None:
        """Take the answer to a call, or 503 where none came."""
        if ask.connection != self._connection or not self._is_connected:
            return
        if status >= _CANNOT_FROM and not (status == _FAILED and self._breaks_nodes(ask)):
            self.actions.append(MoveOn(value.get("detail", f"it answers {status}")))
        elif status == _FULL and ask.name != "progress":
            self._ask_again(ask)
        elif ask.name == "register":
            self._registered(ask, status, value)
        elif ask.name == "leave":
            self.has_left = True
        elif ask.token is None:
            self._offered_in_vain(ask, value.get("code"))
        elif ask.token in self._held:
            self._told(ask.token, ask, status, value)

    def _breaks_nodes(self, ask: Ask) -> bool:
        """Whether nodes failed over this word of a run so often that it is no chance."""
        held = self._held.get(ask.token or 0)
        if held is None:
            return False
        held.failures += 1
        return held.failures > FAILURES_MAX

    # What the runs say.

    def progressed(self, token: int, value: Any) -> None:
        """Tell the cluster how far a run is; of several words in a row the last one counts."""
        held = self._held.get(token)
        if held is not None and held.hold is Hold.RUNNING:
            held.untold = (value,)
            self._tell(token, held)

    def finished(self, token: int, outcome: Outcome) -> None:
        """Report the outcome of a run that is over, if it still counts."""
        held = self._held[token]
        if held.hold is Hold.LOST:
            del self._held[token]
            self._offer_if_changed()
            self._leave_if_done()
            return
        held.hold = Hold.REPORTING
        held.outcome = outcome
        self._tell(token, held)

    # The end.

    def drain(self) -> None:
        """Take nothing more; leave when the last run is reported."""
        if self.is_draining:
            return
        self.is_draining = True
        self._offer_if_changed()
        self._leave_if_done()

    def give_up(self) -> tuple[int, ...]:
        """Stop every run and leave, which hands their tasks back; returns their leases."""
        self.is_draining = True
        self._has_given_up = True
        tokens = self._lose(tuple(self._held))
        self._leave_if_done()
        return tokens

    # Registering, and stating our room.

    def _register(self) -> None:
        if self.is_draining:
            return
        self.worker_id = self.worker_id or self._new_id()
        said = self._description
        self._ask(
            "register",
            {
                "id": self.worker_id,
                "name": said.name,
                "slots": said.slots,
                "queues": said.queues,
                "types": said.types,
                "tags": said.tags,
            },
        )

    def _registered(self, ask: Ask, status: int, value: Object) -> None:
        if ask.body["id"] != self.worker_id:
            return
        if status < 400:
            self.heartbeat_seconds = value["heartbeat_seconds"]
            self.actions.append(Joined(self.worker_id, value["heartbeat_seconds"]))
            self._epoch = 0
            self._offer()
            self._leave_if_done()
        elif value.get("code") in _SESSION_OVER:
            self._begin_anew()
        else:
            self.refused = (status, value)

    def _begin_anew(self) -> None:
        """Drop what the ended registration held, and register under another id."""
        if self._is_leaving:
            self.has_left = True
            return
        log.warning("the cluster ended session %s: stopping its runs", self.worker_id)
        self.worker_id = ""
        self.heartbeat_seconds = None
        self._offered = None
        self._lose(tuple(self._held))
        self._register()
        self._leave_if_done()

    @property
    def _room(self) -> int:
        """The slots that the cluster may fill. A lost run keeps its slot until it has stopped."""
        if self.is_draining:
            return 0
        lost = sum(held.hold is Hold.LOST for held in self._held.values())
        return max(0, self._description.slots - lost)

    def _offer_if_changed(self) -> None:
        if self._offered is not None and self._offered != self._room:
            self._offer()

    def _offer(self, *, after_seconds: float = NOW) -> None:
        self._epoch += 1
        self._offered = self._room
        body = {
            "id": self.worker_id,
            "epoch": self._epoch,
            "slots": self._offered,
            "lease_tokens": self.tokens,
        }
        self._ask("offer", body, after_seconds=after_seconds)

    def _offered_in_vain(self, ask: Ask, code: str | None) -> None:
        if code in _SESSION_OVER:
            self.ended(ask.body["id"])
        elif code == "offer_superseded" and self._is_newest(ask):
            self._offer()

    def _is_newest(self, offer: Ask) -> bool:
        return (offer.body["id"], offer.body["epoch"]) == (self.worker_id, self._epoch)

    def _leave_if_done(self) -> None:
        if self._has_given_up or (self.is_draining and self.is_idle):
            self._leave()

    def _leave(self) -> None:
        if self.heartbeat_seconds is None:
            self.has_left = True  # Nobody knows us.
        elif not self._is_leaving:
            self._is_leaving = self._is_connected
            self._ask("leave", {"id": self.worker_id})

    # Leases.

    def _take(self, lease: Object) -> None:
        token = lease["lease_token"]
        if token in self._held:
            return  # It was given twice: it runs.
        task_id = lease["id"]
        if self.is_draining:
            self._ask("release", {"id": task_id, "lease_token": token})
            return
        self._held[token] = _Held(task_id)
        self._tokens_by_task[task_id] = token
        self.actions.append(Start(lease))
        if lease["cancel_requested"]:
            self.actions.append(Stop(token))

    def _lose(self, tokens: Iterable[int]) -> tuple[int, ...]:
        """Stop the runs whose leases are no longer ours, and return these.

        What is being reported is left alone: the answer to the report says what became of it.
        """
        running = tuple(token for token in tokens if self._is_running(token))
        for token in running:
            held = self._held[token]
            held.hold = Hold.LOST
            self._forget_task(token, held)
            self.actions.append(Stop(token))
        self._offer_if_changed()
        return running

    def _is_running(self, token: int) -> bool:
        held = self._held.get(token)
        return held is not None and held.hold is Hold.RUNNING

    def _settle(self, token: int) -> None:
        """Let go of a lease: its outcome was answered, or no longer counts."""
        self._forget_task(token, self._held.pop(token))
        self._leave_if_done()

    def _forget_task(self, token: int, held: _Held) -> None:
        if self._tokens_by_task.get(held.task_id) == token:
            del self._tokens_by_task[held.task_id]

    # Telling the cluster of runs: one call about a lease at a time, so that they stay in order.

    def _tell(self, token: int, held: _Held) -> None:
        """Tell what there is to be told of a lease, unless an earlier word is on its way."""
        if held.is_telling or not self._is_connected or held.hold is Hold.LOST:
            return
        about = {"id": held.task_id, "lease_token": token}
        if held.untold is not None:
            held.is_telling = True
            held.sent = held.untold
            self._ask("progress", {**about, "progress": held.untold[0]}, token)
        elif isinstance(held.outcome, Completed):
            held.is_telling = True
            self._ask("complete", {**about, "result": held.outcome.result}, token)
        elif isinstance(held.outcome, Failed):
            held.is_telling = True
            said = {"error": held.outcome.error, "retry": held.outcome.retry}
            self._ask("fail", {**about, **said}, token)

    def _told(self, token: int, ask: Ask, status: int, value: Object) -> None:
        held = self._held[token]
        held.is_telling = False
        held.failures = 0
        if status >= 400:
            detail = value.get("detail", f"status {status}")
            log.warning("task %s: its %s was refused: %s", held.task_id, ask.name, detail)
            if ask.name == "complete" and status not in {404, 409, 410}:
                # What cannot be said will not be sayable at the next attempt either.
                held.outcome = unspeakable(ValueError(detail))
                self._tell(token, held)
                return
        if ask.name == "progress":
            if held.untold is held.sent:
                held.untold = None
            self._tell(token, held)
        else:
            self._settle(token)

    def _ask_again(self, ask: Ask) -> None:
        """Ask a while later; of the offers only the newest, with what is held by now."""
        if ask.name != "offer":
            self._ask(ask.name, ask.body, ask.token, after_seconds=AGAIN_SECONDS)
        elif self._is_newest(ask):
            self._offer(after_seconds=AGAIN_SECONDS)

    def _ask(
        self, name: str, body: Object, token: int | None = None, *, after_seconds: float = NOW
    ) -> None:
        if self._is_connected:
            self.actions.append(Ask(name, body, after_seconds, token, self._connection))
