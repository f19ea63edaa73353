"""The experiments, each a lab sheet in a file of its own."""

from __future__ import annotations

from chaos.experiments import (
    kill_a_worker,
    kill_the_leader,
    leader_in_the_minority,
    one_way_cut,
    zombie_worker,
)
from chaos.experiments.sheet import Setting, Sheet

__all__ = ["SHEETS", "Setting", "Sheet"]

SHEETS: dict[str, Sheet] = {
    module.SHEET.name: module.SHEET
    for module in (
        kill_a_worker,
        zombie_worker,
        kill_the_leader,
        leader_in_the_minority,
        one_way_cut,
    )
}
