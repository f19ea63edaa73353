"""Which of a soak's many faults count: those that bit, while somebody asked. Pure."""

from __future__ import annotations

from dataclasses import replace

from chaos.checkers import Evidence
from chaos.checkers.evidence import Fault
from chaos.checkers.serving import shown_by_nothing


def toothless(evidence: Evidence) -> list[Fault]:
    """Faults that show no sign of having bitten, or during which nobody asked anything."""
    asked = sorted(row.invoked for row in evidence.rows)
    return [fault for fault in evidence.faults if shown_by_nothing(fault, asked)]


def without_toothless(evidence: Evidence) -> Evidence:
    """The same without the faults that prove nothing, where others of their name did bite.

    One in a hundred that hit a node which had nothing to lose makes the others no less of a
    proof. Of a name that never bit all stay: a soak with them is inconclusive.
    """
    idle = toothless(evidence)
    biting = {fault.name for fault in evidence.faults if fault not in idle}
    kept = [fault for fault in evidence.faults if fault not in idle or fault.name not in biting]
    return replace(evidence, faults=kept)
