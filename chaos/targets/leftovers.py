"""What a run on containers has left when it was killed: mended from its journal, or removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaos.journal import Left, state_directory
from chaos.targets.engine import Engine
from chaos.targets.links import links_of

WORKER = "worker"  # The service.
PAUSED, KILLED, LINKS, UNPLUGGED = "paused", "killed", "faulty in its links", "unplugged"


def heal(left: Left, *, is_going: bool) -> list[str]:
    """Undo what a killed run has left; its project serves on, unless it *is_going*.

    Raises:
        Unsupported: no engine answers.
    """
    if is_going:
        return remove(left)
    engine = Engine.connect()
    project: str = left.about["project"]
    names = {
        container: f"{service}{number}" if service == WORKER else service
        for (service, number), container in engine.containers(project).items()
    }
    told = []
    for fault, noted in left.faults.items():
        kind, _space, container = fault.rpartition(" ")
        if container in names:
            _undo(engine, f"{project}_raft", kind, container, noted)
            told.append(f"{names[container]} is {kind} no more")
        left.journal.forget(fault)
    if not names:
        left.journal.end()
    return [*told, f"{project} serves on: `quorate chaos heal --down` removes it"] if names else []


def remove(left: Left) -> list[str]:
    """Remove all that a run has left."""
    project = left.about["project"]
    removed = Engine.connect().remove_project(project)
    (state_directory() / f"{project}.json").unlink(missing_ok=True)
    left.journal.end()
    return [f"{name} was removed" for name in removed]


def _undo(
    engine: Engine, network: str, kind: str, container: str, noted: Mapping[str, Any]
) -> None:
    if kind == PAUSED:
        engine.unpause(container)
    elif kind == KILLED:
        engine.start(container)
    elif kind == LINKS:
        if engine.state(container).is_running:
            links_of(engine, container).mend()
    elif kind == UNPLUGGED and network not in engine.state(container).addresses:
        engine.plug(container, network, address=noted["address"], aliases=tuple(noted["aliases"]))
