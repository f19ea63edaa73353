"""What one seed decides before anything runs: how many nodes, how much traffic, which faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chaos.simulation.dice import Dice, dice
from chaos.simulation.families import CHANGES, FAMILIES, LOSSES, Family, kill
from chaos.simulation.faults import Fault
from chaos.simulation.themes import THEMES, Theme

SECONDS = (8.0, 20.0)  # How long faults go on.
THEMED = 0.2  # How many of the seeds have a theme.
THEMED_NODES_MIN = 3  # So many parts have the plots that themes are made of.
ORDINARY = "ordinary"  # The theme of the others: a mix of all families.
FIRST_FAULT_SECONDS = 1.0  # By then the first leader should be there.


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run, as data. The same plan gives the same run."""

    seed: int
    nodes: int
    seconds: float
    submitters: int
    workers: int
    readers: int
    pause_seconds: float  # A client's mean pause between two requests.
    burst: int  # How many requests a submitter may have under way at once.
    payload_bytes: int
    latency: tuple[float, float]  # Seconds, one way.
    split: float  # How often a packet arrives in two pieces.
    sync_seconds: tuple[float, float]  # What an fdatasync takes.
    lease_seconds: float
    segment_bytes: int
    snapshot_bytes: int  # How much new log calls for a snapshot.
    batch_entries: int  # How many entries an append carries at most.
    tail_entries: int  # How much of the log is kept before a snapshot.
    faults: tuple[Fault, ...]
    stewards: int = 0  # Plans of old have none.

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self) | {"faults": [[*fault] for fault in self.faults]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Plan:
        """The plan that `as_json` described."""
        faults = tuple(Fault(at, kind, tuple(args)) for at, kind, args in content["faults"])
        pairs = {name: tuple(content[name]) for name in ("latency", "sync_seconds")}
        return cls(**content | pairs | {"faults": faults})


def draw(seed: int, *, nodes: int | None = None, theme: str | None = None) -> Plan:
    """The plan of *seed*; *nodes* and *theme* settle what the dice would."""
    roll = dice(seed, "plan")
    drawn = roll.choices((1, 3, 5), weights=(1, 7, 2))[0]
    latency_low = roll.choice((0.0001, 0.0005, 0.005))
    sync_low = roll.choice((0.0002, 0.001, 0.004))
    plan = Plan(
        seed=seed,
        nodes=nodes or drawn,
        seconds=roll.uniform(*SECONDS),
        submitters=roll.randint(1, 3),
        workers=roll.randint(0, 2),
        readers=roll.randint(0, 2),
        pause_seconds=roll.choice((0.1, 0.3, 0.6)),
        burst=roll.choice((1, 1, 1, 4)),
        payload_bytes=roll.choice((16, 16, 300, 20_000)),
        latency=(latency_low, latency_low * roll.uniform(1, 6)),
        split=roll.choice((0.0, 0.0, 0.1)),
        sync_seconds=(sync_low, sync_low * roll.uniform(1, 10)),
        lease_seconds=roll.choice((1.5, 4.0, 15.0)),
        segment_bytes=roll.choice((8_000, 100_000, 16 * 1024 * 1024)),
        snapshot_bytes=roll.choice((4_000, 40_000, 64 * 1024 * 1024)),
        batch_entries=roll.choice((2, 50, 1_024)),
        tail_entries=roll.choice((5, 100, 10_000)),
        faults=(),
        stewards=dice(seed, "stewards").choice((0, 0, 1)),
    )
    roll = dice(seed, "theme")  # Of their own: an ordinary seed's plan needs no theme to exist.
    drawn_theme = roll.choice(sorted(THEMES)) if roll.random() < THEMED else ORDINARY
    theme = theme or drawn_theme
    if theme == ORDINARY or (nodes is not None and nodes < THEMED_NODES_MIN):
        return _ordinary(plan)
    return _themed(plan, THEMES[theme], settled={} if nodes is None else {"nodes": (nodes,)})


def _ordinary(plan: Plan) -> Plan:
    """*plan* with a mix of fault families, and a pace, of its own."""
    roll = dice(plan.seed, "faults")
    drawn = [family for family in FAMILIES if roll.random() < 0.35]
    left_out = roll.choice((CHANGES, LOSSES))
    families = [family for family in drawn if family not in left_out] or [kill]
    pace = roll.choice((0.3, 1.0, 3.0))
    return replace(plan, faults=schedule(plan, families, pace, roll))


def _themed(plan: Plan, theme: Theme, *, settled: Mapping[str, tuple[Any, ...]]) -> Plan:
    """*plan* in the shape of *theme*, but for what is *settled*, and with its faults."""
    roll = dice(plan.seed, "faults")
    shape = {**theme.shape, **settled}
    plan = replace(plan, **{field: roll.choice(choices) for field, choices in shape.items()})
    return replace(plan, faults=schedule(plan, theme.families, roll.uniform(*theme.pace), roll))


def schedule(plan: Plan, families: Sequence[Family], pace: float, roll: Dice) -> tuple[Fault, ...]:
    """Troubles of these *families*, *pace* seconds apart on average, until the time is over."""
    names = [f"node{number}" for number in range(1, plan.nodes + 1)]
    faults: list[Fault] = []
    at = FIRST_FAULT_SECONDS
    while True:
        at += roll.expovariate(1 / pace)
        if at >= plan.seconds:
            return tuple(sorted(fault for fault in faults if fault.at < plan.seconds))
        faults += roll.choice(families)(at, names, roll)
