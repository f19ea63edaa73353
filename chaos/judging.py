"""Judging a run that may not have come to its end: what was cut short is no contradiction."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.checkers import Evidence, check
from chaos.checkers.verdicts import Status, Verdict, inconclusive

CONSERVATION = "conservation"


def judge(evidence: Evidence, *, has_settled: bool) -> Mapping[str, Verdict]:
    """Every checker's verdict.

    A run that has not settled may not have heard the newest events. All that is told of the others
    stands; that a task is further than its events say is no contradiction then.
    """
    verdicts = dict(check(evidence))
    if not has_settled and verdicts[CONSERVATION].status is Status.BROKEN:
        verdicts[CONSERVATION] = inconclusive(0, "the newest events were not heard")
    return verdicts
