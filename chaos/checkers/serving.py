"""Whether the cluster serves again, and whether the run was one that could have shown otherwise."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from chaos.checkers.evidence import Evidence, Fault
from chaos.checkers.tasks import FINAL
from chaos.checkers.verdicts import Verdict, broken, held, inconclusive
from chaos.history import Row, Type

IN_A_ROW = 10
PROBE = "probe"  # The process of rows that asked one node, after the heal, whether it serves.


def liveness(evidence: Evidence) -> Verdict:
    """After the heal, ten writes in a row succeed through every node, and the backlog drains."""
    if not evidence.nodes:
        return inconclusive(0, "no node was named")
    by_node: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.rows:
        if row.process.startswith(PROBE) and row.invoked >= evidence.healed:
            by_node[str(row.args.get("node", row.node))].append(row)
    for node in evidence.nodes:
        rows = sorted(by_node[node], key=lambda row: row.invoked)
        failed = [row for row in rows[-IN_A_ROW:] if row.type is not Type.OK]
        if failed:
            return broken(len(rows), f"{node} did not serve again after the heal", *failed)
        if len(rows) < IN_A_ROW:
            return inconclusive(len(rows), f"{node} was asked {len(rows)} times after the heal")
    if evidence.final is None:
        return inconclusive(IN_A_ROW, "nobody asked whether what waited was done")
    waiting = [
        task_id
        for task_id, status in evidence.final.items()
        if status is not None and status not in FINAL
    ]
    if waiting:
        return broken(len(waiting), f"{len(waiting)} tasks were never done", *sorted(waiting))
    return held(IN_A_ROW * len(evidence.nodes))


def not_vacuous(evidence: Evidence) -> Verdict:
    """Every fault bit, and there was traffic that it could have hurt: else nothing is shown."""
    asked = sorted(row.invoked for row in evidence.rows)
    for fault in evidence.faults:
        if why := shown_by_nothing(fault, asked):
            return inconclusive(0, why, fault)
    answered = sum(row.type is Type.OK for row in evidence.rows)
    if answered < evidence.floor:
        return inconclusive(answered, f"{answered} requests were answered, of {evidence.floor}")
    return held(answered, f"{len(evidence.faults)} faults bit")


def shown_by_nothing(fault: Fault, asked: Sequence[float]) -> str | None:
    """Why *fault* proves nothing; None if it bit, and somebody asked meanwhile.

    *asked* is when each request was made, in order.
    """
    toothless = [name for name, count in fault.bites.items() if count <= 0]
    if toothless or not fault.bites:
        what = ", ".join(toothless) or "nothing was counted"
        return f"{fault.name} on {fault.target} did not bite: {what}"
    if bisect_left(asked, fault.injected) == bisect_right(asked, fault.healed):
        return f"nobody asked anything during {fault.name}"
    return None
