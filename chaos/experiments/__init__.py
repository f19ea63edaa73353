"""The experiments, each a lab sheet in a file of its own."""

from __future__ import annotations

from chaos.experiments import (
    flip_one_bit,
    kill_a_worker,
    kill_the_leader,
    kill_the_majority,
    leader_in_the_minority,
    monitor_the_log,
    network_partition,
    one_way_cut,
    priorities,
    pull_the_plug,
    ring_of_majorities,
    rolling_restart,
    scale_up,
    the_lost_reply,
    thundering_herd,
    zombie_worker,
)
from chaos.experiments.sheet import Sheet
from chaos.setting import Setting

__all__ = ["SHEETS", "Setting", "Sheet"]

# In the order of the course: docs/exercises.
SHEETS: dict[str, Sheet] = {
    module.SHEET.name: module.SHEET
    for module in (
        monitor_the_log,
        scale_up,
        priorities,
        kill_a_worker,
        zombie_worker,
        the_lost_reply,
        kill_the_leader,
        rolling_restart,
        kill_the_majority,
        network_partition,
        leader_in_the_minority,
        one_way_cut,
        ring_of_majorities,
        pull_the_plug,
        flip_one_bit,
        thundering_herd,
    )
}
