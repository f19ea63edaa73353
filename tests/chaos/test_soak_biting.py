"""Of a soak's many faults only those that bit count, and each sort of them must have bitten."""

from __future__ import annotations

from chaos.checkers import Evidence
from chaos.checkers.evidence import Fault
from chaos.checkers.serving import not_vacuous
from chaos.checkers.verdicts import Status
from chaos.history import Row, Type
from chaos.soak.biting import toothless, without_toothless

ROWS = [
    Row("client", "task", {"id": "a"}, "r", at, at + 0.1, Type.OK, {"status": None})
    for at in (1.5, 5.5)
]
BITES = Fault("cut", "node1", 1.0, 2.0, {"held back": 5})
IDLE = Fault("cut", "node2", 5.0, 6.0, {"held back": 0})
UNASKED = Fault("cut", "node3", 8.0, 9.0, {"held back": 5})
OTHER = Fault("frozen", "node3", 5.0, 6.0, {"processes stopped": 0})


def evidence(*faults: Fault) -> Evidence:
    return Evidence(rows=ROWS, faults=faults, floor=1)


def test_a_fault_without_a_sign_or_without_traffic_is_toothless() -> None:
    assert toothless(evidence(BITES, IDLE, UNASKED)) == [IDLE, UNASKED]


def test_it_counts_for_nothing_where_others_of_its_sort_bit() -> None:
    counted = without_toothless(evidence(BITES, IDLE, UNASKED))

    assert counted.faults == [BITES]
    assert not_vacuous(counted).status is Status.HELD


def test_a_sort_that_never_bit_leaves_the_soak_inconclusive() -> None:
    counted = without_toothless(evidence(BITES, OTHER))

    assert counted.faults == [BITES, OTHER]
    assert not_vacuous(counted).status is Status.INCONCLUSIVE
