"""One seed from its first event to its verdict: faults first, then a heal, then liveness."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from chaos.simulation.catalogue import plant
from chaos.simulation.cluster import Cluster
from chaos.simulation.dice import dice
from chaos.simulation.history import History, Kind, Outcome
from chaos.simulation.judge import LOOK_SECONDS, Violation, engine_of
from chaos.simulation.membership import judge_orders
from chaos.simulation.node import SimulatedNode
from chaos.simulation.plan import Plan
from chaos.simulation.stewarding import Steward
from chaos.simulation.verdict import judge_history, summary
from chaos.simulation.working import Worker
from chaos.simulation.workload import Client, Reader, Submitter
from chaos.simulation.world import World
from cluster.core.commands import Submit
from cluster.core.model import NewTask
from cluster.raft import replicating

CHANGE_SECONDS = 30.0  # After the heal, what the operator has begun is done by then.
LIVENESS_SECONDS = 20.0  # After the heal, ten writes in a row succeed through every node by then.
LIVENESS_WRITES = 10
CONVERGENCE_SECONDS = 10.0
PASSED = {  # What is counted by a crash point that it passes.
    "snapshots taken": "snapshot.taken",
    "snapshot transfers": "snapshot.transfer_begins",
    "snapshots installed": "snapshot.machine_replaced",
}
ACKNOWLEDGED_MIN = 10  # With fewer acknowledged writes a run proves nothing.


class Verdict(StrEnum):
    """How a run ended."""

    HELD = "held"
    BROKEN = "broken"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one plan."""

    plan: Plan
    verdict: Verdict
    violations: tuple[Violation, ...]
    trace_hash: str
    seconds: float  # Simulated.
    events: int
    entries: int  # Applied, by anyone.
    terms: int  # That had a leader.
    attempts: dict[str, int]
    happened: dict[str, int]  # What the faults came to, by name.

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seed": self.plan.seed,
            "verdict": str(self.verdict),
            "violations": [violation._asdict() for violation in self.violations],
            "trace_hash": self.trace_hash,
            "simulated_seconds": round(self.seconds, 3),
            "events": self.events,
            "entries": self.entries,
            "terms": self.terms,
            "attempts": self.attempts,
            "happened": self.happened,
        }


class Simulation:
    """A plan being carried out."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World()
        self.history = History()
        self.cluster = Cluster(self.world, plan)
        self.judge = self.cluster.judge
        self.clients = [*self._clients()]
        callers = [*self.clients, self.cluster.operator]
        self.cluster.clients = [caller.name for caller in callers]

    def run(self) -> Report:
        """Everything, to the verdict."""
        try:
            with _tuned(self.plan), self.cluster.crashes.watching():
                self._break()
                self._heal()
                self._converge()
        finally:
            self.world.end()
        if not self.judge.violations:
            for rule, what in self._findings():
                self.judge.broken(rule, what)
        return self._report()

    def run_quietly(self) -> Report:
        """`run`, without the log lines of a thousand broken nodes, or pauses to collect them."""
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        was_collecting = gc.isenabled()
        gc.disable()
        try:
            return self.run()
        finally:
            logging.disable(level)
            if was_collecting:
                gc.enable()

    def _findings(self) -> list[tuple[str, str]]:
        changes, orders = self.judge.members.changes(), self.cluster.operator.orders
        return [
            *judge_orders(changes, orders),
            *judge_history(self.judge.ledger, self.history.attempts, seconds=self.world.now),
        ]

    # The three phases.

    def _break(self) -> None:
        for fault in self.plan.faults:
            self.world.at(fault.at, self.cluster.inject, fault)
        self.cluster.start()
        for client in self.clients:
            client.begin()
        self._run_until(self.plan.seconds)

    def _heal(self) -> None:
        self.cluster.heal()
        self._finish_changing()
        living = self.cluster.living
        probes = [
            _Probe(self.world, self.cluster.network, f"probe-{node.name}", [node],
                   dice(self.plan.seed, f"probe {node.name}"), self.history)
            for node in living
        ]  # fmt: skip
        for probe in probes:
            probe.begin()
        deadline = self.world.now + LIVENESS_SECONDS
        while self.world.now < deadline and not self.world.is_halted:
            self._run_until(self.world.now + 0.2)
            if all(probe.is_satisfied for probe in probes if self._lives(probe.nodes[0])):
                return
        if self.world.is_halted:
            return
        for probe in probes:
            if not probe.is_satisfied and self._lives(probe.nodes[0]):
                self.judge.broken(
                    "it serves again after the heal",
                    f"{probe.in_a_row} writes in a row through {probe.nodes[0].name} "
                    f"within {LIVENESS_SECONDS:g} s",
                )

    def _finish_changing(self) -> None:
        """Let the operator end what is under way; whoever is no member then is taken away."""
        operator = self.cluster.operator
        operator.finish()
        deadline = self.world.now + CHANGE_SECONDS
        while operator.is_busy and not self.world.is_halted:
            if self.world.now >= deadline:
                what = operator.orders[-1] if operator.orders else "nothing"
                self.judge.broken("members change after the heal", f"{what}")
                break
            self._run_until(self.world.now + 0.2)
        for node in list(self.cluster.nodes):
            if not self.judge.members.include(node.name):
                self.cluster.retire(node)

    def _converge(self) -> None:
        for client in self.clients:
            client.end()
        deadline = self.world.now + CONVERGENCE_SECONDS
        while self.world.now < deadline and not self.world.is_halted:
            self._run_until(self.world.now + 0.05)
            engines = [engine_of(node) for node in self.cluster.living]
            indexes = {None if each is None else each.applied_index for each in engines}
            is_equal = indexes == {max(self.judge.ledger, default=0)}
            unsettled = self.judge.unsettled()
            if is_equal and unsettled is None:
                self.judge.compare_states()
                return
        if self.world.is_halted:
            return
        if is_equal:
            self.judge.broken("what was begun is seen to its end", f"{unsettled}")
        else:
            states = {
                node.name: None if each is None else each.applied_index
                for node in self.cluster.living
                for each in [engine_of(node)]
            }
            self.judge.broken("all nodes converge", f"applied {states}")

    # Parts.

    def _clients(self) -> Iterator[Client]:
        plan = self.plan
        kinds: tuple[tuple[type[Any], int], ...] = (
            (Submitter, plan.submitters),
            (Worker, plan.workers),
            (Reader, plan.readers),
            (Steward, plan.stewards),
        )
        for kind, count in kinds:
            for number in range(1, count + 1):
                name = f"{kind.__name__.lower()}{number}"
                client = kind(
                    self.world, self.cluster.network, name, self.cluster.nodes,
                    dice(plan.seed, name), self.history,
                )  # fmt: skip
                client.pause_seconds = plan.pause_seconds
                if kind is Submitter:
                    client.burst, client.payload_bytes = plan.burst, plan.payload_bytes
                yield client

    def _lives(self, node: SimulatedNode) -> bool:
        return not node.refuses_to_start

    def _run_until(self, moment: float) -> None:
        """Run, and look at the costly invariants now and then."""
        while self.world.now < moment and not self.world.is_halted:
            look_at = (self.world.now // LOOK_SECONDS + 1) * LOOK_SECONDS
            self.world.run(min(moment, look_at))
            if self.world.now >= look_at:
                self.judge.look()

    def _report(self) -> Report:
        judge = self.judge
        acknowledged = self.history.count(Outcome.OK, Kind.WRITE)
        if judge.violations:
            verdict = Verdict.BROKEN
        elif acknowledged < ACKNOWLEDGED_MIN:
            verdict = Verdict.INCONCLUSIVE
        else:
            verdict = Verdict.HELD
        return Report(
            self.plan,
            verdict,
            tuple(judge.violations),
            self.world.trace_hash,
            self.world.now,
            self.world.events,
            len(judge.ledger),
            len(judge.leaders),
            summary(self.history.attempts),
            self._happened(),
        )

    def _happened(self) -> dict[str, int]:
        passed = self.cluster.crashes.passed
        counts = Counter({what: passed[point] for what, point in PASSED.items()})
        counts.update(self.judge.happened)
        for (what, _), times in self.judge.members.changes().items():
            counts[{"add": "members added", "remove": "members removed"}[what]] += times
        return dict(sorted(counts.items()))


class _Probe(Client):
    """Writes through one node until ten writes in a row have succeeded."""

    in_a_row = 0
    _written = 0

    @property
    def is_satisfied(self) -> bool:
        return self.in_a_row >= LIVENESS_WRITES

    async def run(self) -> None:
        while not self.is_satisfied:
            self._written += 1
            attempt = await self.write(partial(_a_task, f"{self.name}-{self._written}"))
            self.in_a_row = self.in_a_row + 1 if attempt.outcome is Outcome.OK else 0
            await self.rest(0.02)


def _a_task(task_id: str, tag: str) -> Submit:
    return Submit((NewTask.of(task_id, "echo", b"", "text/plain", submitted_by=tag),))


def simulate(plan: Plan, *, bug: str | None = None) -> Report:
    """Carry out *plan* and say what came of it; *bug* is planted for it."""
    with plant(bug):
        return Simulation(plan).run_quietly()


@contextmanager
def _tuned(plan: Plan) -> Iterator[None]:
    """Let a small append count as large: how much one carries is a constant there."""
    usual, replicating.BATCH_ENTRIES = replicating.BATCH_ENTRIES, plan.batch_entries
    try:
        yield
    finally:
        replicating.BATCH_ENTRIES = usual
