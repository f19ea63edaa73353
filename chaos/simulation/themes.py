"""Themes: biases on how a plan is drawn, for what ordinary mixes seldom come to.

A theme shapes the plan (how slow, how small, how busy) and says which families of faults make it
up. It adds no means of its own: what a themed plan does, an ordinary one may do as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from chaos.simulation import families, plots
from chaos.simulation.families import Family

Seconds = tuple[float, float]


class Theme(NamedTuple):
    """One bias."""

    why: str
    families: tuple[Family, ...]
    pace: Seconds  # Between two troubles, on average: drawn from here.
    shape: Mapping[str, tuple[Any, ...]]  # Fields of the plan, and what each is drawn from.


THEMES: dict[str, Theme] = {
    "late-words": Theme(
        "what was said in one term arrives in another",
        (plots.late_echo, plots.late_vote),
        (1.5, 3.0),
        {
            "nodes": (3, 5),
            "submitters": (3,),
            "pause_seconds": (0.1, 0.3),
            "burst": (1, 4),
            "payload_bytes": (16,),
            "latency": ((0.0005, 0.005), (0.0005, 0.05)),
        },
    ),
    "figure-eight": Theme(
        "short reigns leave entries on a minority (Raft, figure 8)",
        (plots.figure_eight,),
        (4.5, 5.5),
        {
            "nodes": (3,),
            "seconds": (20.0,),
            "submitters": (3,),
            "pause_seconds": (0.1,),
            "burst": (1, 4),
            "payload_bytes": (16,),
            "latency": ((0.001, 0.005), (0.005, 0.02)),
            "sync_seconds": ((0.001, 0.01), (0.005, 0.02)),
            "batch_entries": (1,),
        },
    ),
    "short-logs": Theme(
        "snapshots meet logs that go on beyond them",
        (plots.fall_behind, plots.strand),
        (1.5, 2.0),
        {
            "nodes": (3,),
            "submitters": (3,),
            "pause_seconds": (0.1,),
            "burst": (4, 12),
            "payload_bytes": (16,),
            "snapshot_bytes": (400, 1_000),
            "tail_entries": (1, 3),
        },
    ),
    "steered": Theme(
        "queues, keys and workers are steered while nodes come and go",
        (families.isolate, families.pause, families.kill, families.cut_clients),
        (1.5, 3.0),
        {
            "nodes": (3,),
            "submitters": (2,),
            "workers": (3, 4),
            "stewards": (2,),
            "readers": (0,),
            "pause_seconds": (0.1, 0.3),
            "burst": (1,),
            "payload_bytes": (16,),
            "lease_seconds": (15.0,),
            "snapshot_bytes": (4_000, 40_000),
        },
    ),
    "page-cache": Theme(
        "what was written and not synced is read back, and lost after all",
        (plots.lose_cache,),
        (2.5, 3.5),
        {
            "nodes": (3,),
            "submitters": (1, 3),
            "workers": (0,),
            "pause_seconds": (0.1,),
            "payload_bytes": (16,),
            "sync_seconds": ((0.01, 0.03), (0.03, 0.06)),
            "batch_entries": (1,),
        },
    ),
    "alone": Theme(
        "a node that is its own majority loses its power amid a write",
        (families.power_cut, families.kill_then_power_cut),
        (1.5, 2.5),
        {
            "nodes": (1,),
            "submitters": (3,),
            "pause_seconds": (0.1,),
            "payload_bytes": (16, 300),
            "sync_seconds": ((0.005, 0.02), (0.02, 0.06)),
        },
    ),
    "outrun": Theme(
        "who catches up hears of writes sooner than the one disk that decides on them",
        (plots.outrun,),
        (1.5, 2.5),
        {
            "nodes": (1,),
            "seconds": (8.0,),
            "submitters": (6,),
            "workers": (0,),
            "pause_seconds": (0.05,),
            "burst": (1, 4),
            "payload_bytes": (16,),
            "latency": ((0.02, 0.03), (0.04, 0.06)),
            "sync_seconds": ((0.005, 0.02), (0.02, 0.06)),
        },
    ),
    "reborn-voters": Theme(
        "who voted begins anew while others still ask for votes in that term",
        (plots.vote_again,),
        (3.5, 4.5),
        {
            "nodes": (3,),
            "seconds": (20.0,),
            "submitters": (1,),
            "workers": (0,),
            "pause_seconds": (0.3,),
            "payload_bytes": (16,),
            "burst": (1,),
            "latency": ((0.0005, 0.003),),
        },
    ),
    "begun-anew": Theme(
        "a leader is back before all have noticed, and remembers nothing of what it took",
        (plots.begin_anew,),
        (2.0, 3.0),
        {
            "nodes": (3,),
            "seconds": (20.0,),
            "submitters": (6,),
            "workers": (0,),
            "pause_seconds": (0.1,),
            "payload_bytes": (16,),
            "burst": (1, 4),
            "latency": ((0.01, 0.02),),
            "sync_seconds": ((0.001, 0.004),),
        },
    ),
    "estranged-heirs": Theme(
        "one is in a later term than all others, and nobody follows it",
        (plots.stand_in_vain,),
        (2.0, 3.0),
        {
            "nodes": (3,),
            "submitters": (1,),
            "workers": (0,),
            "readers": (0,),
            "stewards": (0,),
            "pause_seconds": (0.6,),
            "payload_bytes": (16,),
            "burst": (1,),
            "latency": ((0.0005, 0.003),),
        },
    ),
    "bit-rot": Theme(
        "a disk damages what a majority counts on",
        (plots.rot,),
        (2.0, 3.0),
        {
            "nodes": (3,),
            "submitters": (3,),
            "pause_seconds": (0.1,),
            "burst": (1,),
            "payload_bytes": (16, 300),
        },
    ),
    "late-workers": Theme(
        "runs outlast their leases, and their results come late",
        (families.cut_clients, families.change_leader, families.kill),
        (1.0, 3.0),
        {
            "nodes": (3,),
            "submitters": (1, 2),
            "workers": (4,),
            "readers": (0,),
            "pause_seconds": (0.1, 0.3),
            "payload_bytes": (16,),
            "lease_seconds": (1.5,),
        },
    ),
    "estranged": Theme(
        "one does not hear a leader that all others hear",
        (plots.estrange,),
        (4.0, 6.0),
        {
            "nodes": (3, 5),
            "seconds": (20.0,),
            "submitters": (1,),
            "workers": (0,),
            "pause_seconds": (0.3, 0.6),
            "payload_bytes": (16,),
            "burst": (1,),
        },
    ),
    "usurped": Theme(
        "a leader that is none any more is asked",
        (plots.usurp,),
        (2.0, 3.0),
        {
            "nodes": (3, 5),
            "seconds": (20.0,),
            "submitters": (6,),
            "workers": (0,),
            "readers": (2,),
            "pause_seconds": (0.3,),
            "payload_bytes": (16,),
            "latency": ((0.0001, 0.0005), (0.001, 0.003)),
        },
    ),
    "long-tails": Theme(
        "deposed leaders come back with much that nobody else has",
        (families.isolate, families.halve),
        (1.0, 2.0),
        {
            "nodes": (3,),
            "seconds": (6.0, 9.0),
            "submitters": (3,),
            "workers": (0,),
            "readers": (0,),
            "pause_seconds": (0.05,),
            "burst": (48,),
            "payload_bytes": (16,),
            "latency": ((0.0005, 0.005), (0.0005, 0.05)),
        },
    ),
}
