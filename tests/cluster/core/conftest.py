"""A machine with somebody to drive it: every entry is followed by a check of all invariants."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.core.commands import (
    Command,
    Complete,
    Fail,
    Heartbeat,
    Offer,
    Register,
    Submit,
    Tick,
)
from cluster.core.invariants import check
from cluster.core.machine import Applied, Machine
from cluster.core.model import Event, Lease, NewTask, Policy
from cluster.core.queries import GetTask, GetWorker, TaskView, WorkerLeases, WorkerView


class Driver:
    """Applies commands one entry each. Both clocks stand still until `after` moves them."""

    def __init__(self) -> None:
        self.machine = Machine(lease_ms=15_000, heartbeat_ms=5_000)
        self.index = 0
        self.cluster_ms = 0
        self.wall_ms = 1_000_000
        self.events: tuple[Event, ...] = ()  # Of the newest entry.

    def entry(self, *commands: Command[Any]) -> Applied:
        self.index += 1
        applied = self.machine.apply_entry(
            commands,
            index=self.index,
            term=1,
            cluster_time_ms=self.cluster_ms,
            wall_time_ms=self.wall_ms,
        )
        self.events = applied.events
        assert check(self.machine) == []
        return applied

    def do(self, command: Command[Any]) -> Any:
        return self.entry(command).replies[0]

    def after(self, ms: int) -> Applied:
        """Let both clocks pass and do what is due."""
        self.cluster_ms += ms
        self.wall_ms += ms
        return self.entry(Tick())

    def submit(self, *ids: str, **fields: Any) -> Any:
        """Submit tasks that differ in their ids; fields of `Policy` may be named as well."""
        names = Policy._fields
        policy = Policy(**{name: fields.pop(name) for name in names if name in fields})
        wanted = {"type": "t", "payload": b"{}", "content_type": "json", "policy": policy} | fields
        return self.do(Submit(tuple(NewTask.of(id=task_id, **wanted) for task_id in ids)))

    def worker(self, worker_id: str = "w", slots: int = 1, **fields: Any) -> None:
        """Register a worker whose standing offer is for all of its slots."""
        self.register(worker_id, slots, **fields)
        self.do(Offer(worker_id, 1, slots, is_standing=True))

    def register(self, worker_id: str = "w", slots: int = 1, **fields: Any) -> Any:
        wanted = {"name": worker_id, "queues": ("default",), "types": (), "tags": (), "node": "n1"}
        return self.do(Register(worker_id, slots=slots, **(wanted | fields)))

    def heartbeat(self, worker_id: str = "w", *tokens: int) -> Any:
        return self.do(Heartbeat(worker_id, tokens, "n1"))

    def complete(self, task_id: str, token: int | None = None, result: bytes = b"r") -> Any:
        return self.do(Complete(task_id, token or self.token(task_id), result))

    def fail(
        self,
        task_id: str,
        token: int | None = None,
        *,
        error: str = "broken",
        retry: bool = True,
    ) -> Any:
        return self.do(Fail(task_id, token or self.token(task_id), error, retry))

    def task(self, task_id: str) -> TaskView:
        view = self.machine.answer(GetTask(task_id))
        assert view is not None, f"task {task_id} is not there"
        return view

    def find(self, task_id: str) -> TaskView | None:
        return self.machine.answer(GetTask(task_id))

    def status(self, task_id: str) -> str:
        return self.task(task_id).status.value

    def token(self, task_id: str) -> int:
        token = self.task(task_id).lease_token
        assert token is not None, f"task {task_id} was never leased"
        return token

    def session(self, worker_id: str = "w") -> WorkerView | None:
        return self.machine.answer(GetWorker(worker_id))

    def leases(self, worker_id: str = "w") -> tuple[Lease, ...]:
        return self.machine.answer(WorkerLeases(worker_id))

    def held(self, worker_id: str = "w") -> list[str]:
        return [lease.task_id for lease in self.leases(worker_id)]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def work_off(self, worker_id: str = "w") -> list[str]:
        """Complete all that the worker is given, one by one; returns the order."""
        done = []
        while held := self.leases(worker_id):
            done.append(held[0].task_id)
            self.complete(held[0].task_id)
        return done


@pytest.fixture
def driver() -> Driver:
    return Driver()
