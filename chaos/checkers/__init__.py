"""The checkers: each a pure function from a run's evidence to a verdict on one promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from chaos.checkers import leases, nodes, serving, tasks
from chaos.checkers.evidence import Evidence
from chaos.checkers.linearizable import linearizable
from chaos.checkers.verdicts import Verdict
from chaos.checkers.witness import witness

__all__ = ["CHECKERS", "Checker", "Evidence", "Verdict", "check"]


class Checker(NamedTuple):
    """A promise that can be checked. Its function's docstring says what must hold."""

    name: str
    check: Callable[[Evidence], Verdict]

    @property
    def promise(self) -> str:
        """What must hold, in a sentence."""
        return (self.check.__doc__ or "").partition("\n\n")[0]


CHECKERS = (
    Checker("not vacuous", serving.not_vacuous),
    Checker("witness", witness),
    Checker("linearizable", linearizable),
    Checker("total queue", tasks.total_queue),
    Checker("complete once", tasks.complete_once),
    Checker("fence", leases.fence),
    Checker("lease", leases.lease),
    Checker("transitions", tasks.transitions),
    Checker("conservation", tasks.conservation),
    Checker("order and priority", leases.order),
    Checker("monotonic", tasks.monotonic),
    Checker("idempotent", tasks.idempotent),
    Checker("replicas", nodes.replicas),
    Checker("raft", nodes.raft),
    Checker("liveness", serving.liveness),
)


def check(evidence: Evidence) -> Mapping[str, Verdict]:
    """Every checker's verdict on a run, by name."""
    return {checker.name: checker.check(evidence) for checker in CHECKERS}
