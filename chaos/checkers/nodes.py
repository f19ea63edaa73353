"""What must hold between nodes: equal states, one leader a term, logs that agree.

The rules are Raft's own (Ongaro and Ousterhout, 2014, figure 3): election safety, log matching,
state machine safety; and of the state machine that it is deterministic.
"""

from __future__ import annotations

from chaos.checkers.evidence import Entry, Evidence, Sight
from chaos.checkers.verdicts import Verdict, broken, held, inconclusive


def replicas(evidence: Evidence) -> Verdict:
    """Nodes that have applied the same index have the same state, to the byte."""
    first: dict[int, Sight] = {}
    compared = 0
    for sight in evidence.sights:
        earlier = first.setdefault(sight.applied_index, sight)
        compared += earlier.node != sight.node
        # A node is compared with itself as well: it may have been restarted in between.
        if earlier.state_hash != sight.state_hash:
            why = f"{earlier.node} and {sight.node} differ at index {sight.applied_index}"
            return broken(compared, why, earlier, sight)
    if not compared:
        return inconclusive(0, "no two nodes were seen at the same index")
    return held(compared)


def raft(evidence: Evidence) -> Verdict:
    """A term has one leader, a node's term never falls while it has its disk, and logs agree."""
    leaders: dict[int, Sight] = {}
    last: dict[str, Sight] = {}
    checked = 0
    for sight in evidence.sights:
        checked += 1
        before = last.get(sight.node)
        if (
            before is not None
            and sight.term < before.term
            and not _has_begun_anew(evidence, before, sight)
        ):
            why = f"{sight.node} went back from term {before.term} to {sight.term}"
            return broken(checked, why, before, sight)
        last[sight.node] = sight
        if sight.role == "leader":
            leader = leaders.setdefault(sight.term, sight)
            if leader.node != sight.node:
                why = f"{leader.node} and {sight.node} both led term {sight.term}"
                return broken(checked, why, leader, sight)
    disagreement = _disagreement(evidence)
    if disagreement is not None:
        return disagreement
    entries = sum(map(len, evidence.logs.values()))
    if not checked and not entries:
        return inconclusive(0, "nothing was seen of any node")
    return held(checked + entries, f"{len(leaders)} terms were led")


def _has_begun_anew(evidence: Evidence, before: Sight, after: Sight) -> bool:
    """Whether the node was given an empty disk meanwhile: what it knew is not expected of it."""
    return any(
        node == after.node and before.at <= at <= after.at for node, at in evidence.begun_anew
    )


def _disagreement(evidence: Evidence) -> Verdict | None:
    """Two logs whose entries at an index are of one term, and are not the same."""
    merged: dict[tuple[int, int], tuple[str, Entry]] = {}
    for node, log in evidence.logs.items():
        for entry in log:
            other, same = merged.setdefault((entry.index, entry.term), (node, entry))
            if same.command != entry.command:
                why = (
                    f"{other} and {node} have different entries {entry.index} of term {entry.term}"
                )
                return broken(len(merged), why, same, entry)
    return None
