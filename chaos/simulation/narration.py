"""A run as a story: `+2.88 s node2 leads term 4`, one line an event that a person cares about."""

from __future__ import annotations

from collections.abc import Callable

from chaos.simulation.faults import Fault
from chaos.simulation.history import Outcome
from chaos.simulation.simulation import Simulation

QUIET_SECONDS = 1.0  # How often a summary of traffic is told.


class Narrator:
    """Listens to a simulation and tells it, line by line."""

    def __init__(self, simulation: Simulation, tell: Callable[[str], None]) -> None:
        self._simulation = simulation
        self._tell = tell
        self._told_attempts = 0
        judge = simulation.judge
        judge.tell = self.say
        simulation.world.after(QUIET_SECONDS, self._summarize)
        for fault in simulation.plan.faults:
            simulation.world.at(fault.at, self._fault, fault)

    def say(self, sentence: str) -> None:
        """Tell one line, with its moment."""
        self._tell(f"+{self._simulation.world.now:.2f} s {sentence}")

    def _fault(self, fault: Fault) -> None:
        words = " ".join(str(argument) for argument in fault.args)
        self.say(f"  ~ {fault.kind.replace('_', ' ')} {words}".rstrip())

    def _summarize(self) -> None:
        attempts = self._simulation.history.attempts
        fresh = attempts[self._told_attempts :]
        self._told_attempts = len(attempts)
        if fresh:
            known = sum(attempt.outcome is Outcome.OK for attempt in fresh)
            open_ = sum(attempt.outcome is Outcome.OPEN for attempt in fresh)
            self.say(f"    {len(fresh)} requests: {known} answered, {open_} wait")
        self._simulation.world.after(QUIET_SECONDS, self._summarize)
