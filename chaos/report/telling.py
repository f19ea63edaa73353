"""What a checker points at, in words: a row, an event, a view, a fault."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from chaos.checkers.evidence import Entry, Fault, Sight
from chaos.history import Row
from cluster.core.model import Event

_VALUE_CHARACTERS_MAX = 200
_TO_BE_READ = ("task_id", "status", "worker_id", "lease_token", "attempt", "error")


def moment(at: float) -> str:
    """A time of the run's clock: `+2.88 s`."""
    return f"{at:+.2f} s"


def witness_told(witness: Any) -> str:
    """One thing that shows what a verdict says."""
    match witness:
        case Row():
            return _row(witness)
        case Event():
            members = {name: getattr(witness, name) for name in _TO_BE_READ}
            told = ", ".join(f"{name} {value}" for name, value in members.items() if value)
            return f"entry {witness.index}, term {witness.term}: {witness.kind}, {told}"
        case Sight():
            return (
                f"{moment(witness.at)} {witness.node} says: {witness.role} of term {witness.term},"
                f" has applied {witness.applied_index}, state {witness.state_hash[:16]}…"
            )
        case Fault():
            return fault_told(witness)
        case Entry():
            size = "Raft's own" if witness.command is None else f"{len(witness.command)} bytes"
            return f"entry {witness.index}, term {witness.term}: {size}"
        case _:
            return _short(witness)


def fault_told(fault: Fault) -> str:
    """What was done to whom, from when to when, and the signs that it bit."""
    return (
        f"{fault.name} of {fault.target}, {moment(fault.injected)} to {moment(fault.healed)}"
        f" ({bites_told(fault.bites)})"
    )


def bites_told(bites: Mapping[str, int]) -> str:
    """The signs that a fault bit."""
    return ", ".join(f"{what}: {count:,}" for what, count in bites.items()) or "nothing was counted"


def _row(row: Row) -> str:
    answered = moment(row.returned) if math.isfinite(row.returned) else "never answered"
    asked = {name: value for name, value in row.args.items() if name != "node"}
    node = row.node or row.args.get("node", "")
    index = f", index {row.index}" if row.index else ""
    return (
        f"{moment(row.invoked)} {row.process} asks {node}: {row.f} {_short(asked)};"
        f" {answered}: {row.type} {_short(row.value)}{index}"
    )


def _short(value: Any) -> str:
    told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    cut = len(told) > _VALUE_CHARACTERS_MAX
    return told[:_VALUE_CHARACTERS_MAX] + "…" if cut else told
