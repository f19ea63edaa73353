"""A fault is undone on every path, and noted only where it was one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from chaos.checkers import Evidence
from chaos.injecting import Injecting, NotInjected
from chaos.soak.biting import toothless
from chaos.targets.contract import Unsupported
from chaos.targets.engine import Refused


@dataclass
class Target:
    """Something that can be frozen, or fails at it."""

    cannot_freeze: Exception | None = None
    cannot_tell: Exception | None = None
    done: list[str] = field(default_factory=list)

    async def freeze(self, name: str) -> None:
        self.done.append(f"freeze {name}")
        if self.cannot_freeze is not None:
            raise self.cannot_freeze

    async def thaw(self, name: str) -> None:
        self.done.append(f"thaw {name}")

    def is_stopped(self, _name: str) -> bool:
        if self.cannot_tell is not None:
            raise self.cannot_tell
        return True


def lab_of(target: Target) -> Injecting:
    return Injecting(target)  # type: ignore[arg-type]  # The part that is used here.


async def test_a_fault_is_noted_with_its_sign_once_it_is_undone() -> None:
    target = Target()
    lab = lab_of(target)

    async with lab.frozen("node1", called="node frozen"):
        assert target.done == ["freeze node1"]

    assert target.done == ["freeze node1", "thaw node1"]
    [fault] = lab.faults
    assert (fault.name, fault.bites) == ("node frozen", {"processes stopped": 1})


async def test_it_is_undone_also_where_no_sign_can_be_had_and_counts_for_nothing() -> None:
    target = Target(cannot_tell=Refused("inspect: no answer"))
    lab = lab_of(target)

    with pytest.raises(Refused):
        async with lab.frozen("node1"):
            pass

    assert target.done == ["freeze node1", "thaw node1"]
    assert toothless(Evidence(faults=lab.faults)) == lab.faults != []


async def test_it_is_undone_where_what_was_done_meanwhile_failed() -> None:
    target = Target()

    with pytest.raises(ValueError, match="amid it"):
        async with lab_of(target).frozen("node1"):
            raise ValueError("amid it")

    assert target.done == ["freeze node1", "thaw node1"]


@pytest.mark.parametrize(
    ("error", "told"), [(Refused("pause: 500"), NotInjected), (Unsupported("no root"), Unsupported)]
)
async def test_what_was_done_by_halves_is_undone_and_is_no_fault(
    error: Exception, told: type[Exception]
) -> None:
    target = Target(cannot_freeze=error)
    lab = lab_of(target)

    with pytest.raises(told, match=str(error)):
        async with lab.frozen("node1"):
            pytest.fail("nothing is frozen")

    assert target.done == ["freeze node1", "thaw node1"]
    assert not lab.faults
