"""A run to be judged: clients and workers of the real machine, in one thread, from one seed.

Each request takes effect at a moment between its call and its answer; some answers are lost. What
the checkers are given is gathered as from a real cluster.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.checkers.evidence import Entry, Evidence, Fault, Sight
from chaos.history import Row, Type
from cluster import codec
from cluster.core.commands import (
    BeginTerm,
    Cancel,
    Command,
    Complete,
    Fail,
    Offer,
    Refused,
    Register,
    Release,
    Retry,
    Submit,
    Tick,
)
from cluster.core.machine import Machine
from cluster.core.model import Event, Idempotency, NewTask
from cluster.core.queries import GetTask

NODES = ("node1", "node2", "node3")
STEP_MS = 10
DRAIN_STEPS_MAX = 10_000


@dataclass
class StagedRun:
    """One client, one worker of four slots, some faults that happened to nobody."""

    seed: int = 0
    machine: Machine = field(default_factory=Machine)
    rows: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    now_ms: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.priorities: dict[str, int] = {}
        self.do(BeginTerm(node="node1", lease_ms=15_000, heartbeat_ms=5_000))
        self.do(Register("worker", "worker", ("default",), (), (), 4, "node1"))
        self.do(Offer("worker", 1, 4, is_standing=True))

    def do(self, *commands: Command[Any]) -> tuple[Any, ...]:
        """Commit an entry, as the leader does, and look at every node."""
        self.now_ms += STEP_MS
        index = len(self.log) + 1
        packed = [codec.pack_command(command) for command in commands]
        entry = codec.pack_entry(self.now_ms, self.now_ms, [("node1", index, packed)])
        applied = self.machine.apply_entry(
            commands,
            index=index,
            term=1,
            cluster_time_ms=self.now_ms,
            wall_time_ms=self.now_ms,
        )
        self.machine.seal(entry, codec.pack_outcome(applied.replies, applied.events))
        self.log.append(Entry(index, 1, entry))
        self.events += applied.events
        for node in NODES:
            role = "leader" if node == "node1" else "follower"
            hash_ = self.machine.state_hash.hex()
            self.sights.append(Sight(self.now_ms / 1_000, node, role, 1, index, index, hash_))
        return tuple(applied.replies)

    def ask(self, process: str, f: str, args: dict[str, Any], command: Command[Any]) -> Any:
        """A client's request, whose answer is lost now and then. Returns the machine's reply."""
        invoked = self.now_ms / 1_000
        (reply,) = self.do(command)
        returned = self.now_ms / 1_000 + self.random.random() / 1_000
        node = self.random.choice(NODES)
        id_ = f"{process}-{len(self.rows)}"
        index = len(self.log)
        if isinstance(reply, Refused):
            row = Row(process, f, args, id_, invoked, returned, Type.FAIL, str(reply.refusal), node)
        elif self.random.random() < 0.05:
            row = Row(f"{process}{id_}", f, args, id_, invoked, returned + 5, Type.INFO, None, node)
        else:
            value = self._value(f, args, reply)
            row = Row(process, f, args, id_, invoked, returned, Type.OK, value, node, index)
        self.rows.append(row)
        return reply

    def submit(self, process: str = "client") -> None:
        task_id = f"{self.random.getrandbits(128):032x}"
        priority = self.random.choice((1, 4, 4, 7))
        args = {"id": task_id, "type": "noop", "queue": "default", "priority": priority}
        args["idempotency_key"] = task_id
        self._submit(process, args, task_id)
        if self.random.random() < 0.2:  # Whoever lost the answer asks again, as another request.
            self._submit(process, {**args, "id": f"{self.random.getrandbits(128):032x}"}, task_id)

    def _submit(self, process: str, args: dict[str, Any], key: str) -> None:
        id_, priority = args["id"], args["priority"]
        idempotency = Idempotency(key, b"the same")
        task = NewTask.of(
            *(id_, "noop", b"{}", "application/json"), priority=priority, idempotency=idempotency
        )
        (told,) = self.ask(process, "submit", args, Submit((task,))).tasks
        self.priorities[told.task_id] = priority

    def work(self) -> None:
        """Bring one leased task further, now and then under a token that is not its own."""
        leases = list(self.machine.state.spaces["default"].workers["worker"].leases.items())
        if not leases:
            self.do(Tick())
            return
        token, task_id = self.random.choice(leases)
        args = {"id": task_id, "lease_token": token, "result": f"r{token}"}
        kind = self.random.random()
        if kind < 0.7:
            self.ask("worker", "complete", args, Complete(task_id, token, args["result"].encode()))
        elif kind < 0.8:
            self.ask("worker", "fail", args, Fail(task_id, token, "no", retry=False))
        elif kind < 0.9:
            self.ask("worker", "release", args, Release(task_id, token))
        else:
            late = {**args, "lease_token": token + 1_000}
            self.ask("worker", "complete", late, Complete(task_id, token + 1_000, b"late"))

    def look(self) -> None:
        """Read, cancel or retry one task that there was."""
        task_id = self.random.choice(list(self.priorities))
        kind = self.random.random()
        if kind < 0.8:
            view = self.machine.answer(GetTask(task_id))
            at = self.now_ms / 1_000
            value = None if view is None else self._seen(view)
            self.rows.append(
                Row("reader", "task", {"id": task_id}, f"read-{len(self.rows)}", at, at + 0.001,
                    Type.OK, value, "node2", len(self.log))
            )  # fmt: skip
            self.now_ms += STEP_MS
        elif kind < 0.9:
            self.ask("client", "cancel", {"id": task_id}, Cancel(task_id))
        else:
            self.ask("client", "retry", {"id": task_id}, Retry(task_id))

    def run(self, steps: int) -> StagedRun:
        """Clients come and go for so many steps; then all that waits is worked off."""
        self.submit()
        for _ in range(steps):
            self.random.choice((self.submit, self.work, self.work, self.look))()
        for _ in range(DRAIN_STEPS_MAX):
            if all(self._status(task_id) in _ENDED for task_id in self.priorities):
                break
            self.work()
        self.healed = self.now_ms / 1_000
        for node in NODES:
            for _ in range(10):
                self.probe(node)
        for _ in range(DRAIN_STEPS_MAX):
            if all(self._status(task_id) in _ENDED for task_id in self.priorities):
                break
            self.work()
        return self

    def probe(self, node: str) -> None:
        """A write that succeeds through *node* after the heal."""
        process, id_ = f"probe-{node}", f"{self.random.getrandbits(128):032x}"
        asked = {"id": id_, "type": "noop", "queue": "default", "priority": 4}
        self._submit(process, asked, id_)
        last = self.rows[-1]
        args = {**asked, "node": node}
        value = {"status": "pending", "duplicate": False, "id": id_}
        self.rows[-1] = last._replace(
            process=process, args=args, node=node, type=Type.OK, value=value, index=len(self.log)
        )

    def evidence(self, **changes: Any) -> Evidence:
        """All that was seen; *changes* plant what was not."""
        given: dict[str, Any] = {
            "rows": self.rows,
            "events": self.events,
            "logs": {"node1": self.log, "node2": self.log[:-1], "node3": self.log},
            "sights": self.sights,
            "faults": [Fault("kill", "node2", 0.0, self.healed, {"processes_ended": 1})],
            "final": {task_id: self._status(task_id) for task_id in self.priorities},
            "healed": self.healed,
            "nodes": NODES,
            "floor": 10,
        }
        return Evidence(**(given | changes))

    def first(self, kind: str, events: Sequence[Event] | None = None) -> int:
        """Where the first event of *kind* is."""
        return next(at for at, event in enumerate(events or self.events) if event.kind == kind)

    def _status(self, task_id: str) -> str | None:
        view = self.machine.answer(GetTask(task_id))
        return None if view is None else str(view.status)

    def _value(self, f: str, args: dict[str, Any], reply: Any) -> dict[str, Any]:
        if f == "submit":
            told = reply.tasks[0]
            return {"id": told.task_id, "status": str(told.status), "duplicate": told.is_duplicate}
        value = {"id": args["id"], "status": str(reply.status), "duplicate": reply.is_duplicate}
        return value | ({"result": args["result"]} if f == "complete" else {})

    def _seen(self, view: Any) -> dict[str, Any]:
        result = None if view.result is None else view.result.decode()
        return {"id": view.id, "status": str(view.status), "result": result}


_ENDED = ("completed", "failed", "cancelled", "expired")
