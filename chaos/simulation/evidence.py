"""A simulated run as seen from outside: what clients were told, and what nodes say and write.

The judge of the simulation sees more, and ends a run at the first rule that is broken. Here it only
looks on: what is gathered is what a run on real processes leaves, for the same checkers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from chaos.checkers.evidence import Entry, Evidence, Sight
from chaos.checkers.tasks import FINAL
from chaos.history import Row, Type
from chaos.simulation.catalogue import plant
from chaos.simulation.history import Attempt, Kind, Outcome
from chaos.simulation.judge import Judge, engine_of
from chaos.simulation.node import SimulatedNode
from chaos.simulation.plan import Plan
from chaos.simulation.planted import replace
from chaos.simulation.simulation import Simulation
from chaos.simulation.verdict import replay
from cluster.core.commands import Command, Complete, Fail, Refused, Release, Submit
from cluster.core.model import Event
from cluster.core.queries import GetTask

_TYPES = {Outcome.OK: Type.OK, Outcome.FAIL: Type.FAIL, Outcome.INFO: Type.INFO}
_SETTLES: dict[type[Command[Any]], str] = {Complete: "complete", Fail: "fail", Release: "release"}
_DONE = "done"  # Every result: workers write a tag of their own into each try.


def gather(plan: Plan, *, bug: str | None = None) -> Evidence:
    """Carry out *plan*, with *bug* planted, and return what it left."""
    with ExitStack() as stack:
        stack.enter_context(plant(bug))
        logs: dict[str, dict[int, Entry]] = defaultdict(dict)
        sights: list[Sight] = []

        def make(original: Any) -> Any:
            def applied(
                self: Judge, node: SimulatedNode, index: int, term: int, command: Any, hash_: bytes
            ) -> None:
                logs[node.name][index] = Entry(index, term, command)
                sights.append(_sight(simulation.world.now, node, index, hash_))
                original(self, node, index, term, command, hash_)

            return applied

        replace(stack, Judge, "applied", make)
        replace(stack, Judge, "broken", lambda _original: lambda *_args: None)
        simulation = Simulation(plan)
        simulation.run_quietly()
        attempts = simulation.history.attempts
        return Evidence(
            rows=[row for number, each in enumerate(attempts) for row in _rows(number, each)],
            events=_events(simulation),
            logs={name: [log[index] for index in sorted(log)] for name, log in logs.items()},
            sights=sights,
            final=_final(simulation),
        )


def _sight(at: float, node: SimulatedNode, index: int, state_hash: bytes) -> Sight:
    engine = engine_of(node)
    role = "leader" if engine is not None and engine.is_leader else "follower"
    term = 0 if engine is None else engine.term
    return Sight(at, node.name, role, term, index, index, state_hash.hex())


def _rows(number: int, attempt: Attempt) -> Iterator[Row]:
    """A row for each task that was asked about; none for what the checkers have no word for."""
    asked, value = attempt.asked, attempt.value
    type_ = _TYPES.get(attempt.outcome, Type.INFO)
    if isinstance(value, Refused):
        type_ = Type.FAIL

    def row(f: str, args: dict[str, Any], told: Any) -> Row:
        return Row(
            *(attempt.process, f, args, f"{attempt.process}-{number}"),
            *(attempt.invoked, attempt.returned, type_, told if type_ is Type.OK else None),
            *(attempt.node, attempt.index),
        )

    if isinstance(asked, Submit):
        for at, task in enumerate(asked.tasks):
            kind = task.kind
            args: dict[str, Any] = {"id": task.id, "type": kind.type, "queue": kind.queue}
            args["priority"] = kind.priority
            if task.idempotency is not None:
                args["idempotency_key"] = task.idempotency.key
            told = value.tasks[at] if type_ is Type.OK else None
            yield row(
                "submit",
                args,
                told and {"id": told.task_id, "duplicate": told.is_duplicate},
            )
    elif type(asked) in _SETTLES:
        told = value if type_ is Type.OK else None
        yield row(
            _SETTLES[type(asked)],
            {"id": asked.task_id, "lease_token": asked.lease_token, "result": _DONE},
            told
            and {"status": str(told.status), "duplicate": getattr(told, "is_duplicate", False)},
        )
    elif isinstance(asked, GetTask) and attempt.kind is Kind.READ:
        seen = {"status": None} if value is None else {"status": str(value.status), "result": _DONE}
        yield row("task", {"id": asked.task_id}, seen)


def _events(simulation: Simulation) -> list[Event]:
    ledger = simulation.judge.ledger
    return list(replay(ledger, []).events) if _is_whole(ledger) else []


def _is_whole(ledger: dict[int, Any]) -> bool:
    return all(index in ledger for index in range(min(ledger, default=1), max(ledger, default=0)))


def _final(simulation: Simulation) -> dict[str, str | None]:
    """How tasks ended, or that they are not there, as the node says that has applied most.

    A run ends with tasks that wait still: of those it is not known.
    """
    serving = [node.replica for node in simulation.cluster.nodes if node.replica is not None]
    if not serving:
        return {}
    machine = max(serving, key=lambda replica: replica.machine.applied_index).machine
    final: dict[str, str | None] = {}
    for attempt in simulation.history.attempts:
        for task in attempt.asked.tasks if isinstance(attempt.asked, Submit) else ():
            view = machine.answer(GetTask(task.id))
            status = None if view is None else str(view.status)
            if status is None or status in FINAL:
                final[task.id] = status
    return final
