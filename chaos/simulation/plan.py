"""What one seed decides before anything runs: how many nodes, how much traffic, which faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from chaos.simulation.dice import Dice, dice
from chaos.simulation.faults import LEADER, Fault

SECONDS = (8.0, 20.0)  # How long faults go on.
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

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self) | {"faults": [[*fault] for fault in self.faults]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Plan:
        """The plan that `as_json` described."""
        faults = tuple(Fault(at, kind, tuple(args)) for at, kind, args in content["faults"])
        pairs = {name: tuple(content[name]) for name in ("latency", "sync_seconds")}
        return cls(**content | pairs | {"faults": faults})


def draw(seed: int, *, nodes: int | None = None) -> Plan:
    """The plan of *seed*; *nodes* settles their number instead of the dice."""
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
    )
    return replace(plan, faults=schedule(plan, dice(seed, "faults")))


def schedule(plan: Plan, roll: Dice) -> tuple[Fault, ...]:
    """A mix of fault families of its own for each seed, at a pace of its own."""
    names = [f"node{number}" for number in range(1, plan.nodes + 1)]
    families = [family for family in _FAMILIES if roll.random() < 0.35] or [_kill]
    pace = roll.choice((0.3, 1.0, 3.0))
    faults: list[Fault] = []
    at = FIRST_FAULT_SECONDS
    while True:
        at += roll.expovariate(1 / pace)
        if at >= plan.seconds:
            return tuple(sorted(fault for fault in faults if fault.at < plan.seconds))
        faults += roll.choice(families)(at, names, roll)


# Families: each yields one trouble and what ends it.

Family = Callable[[float, list[str], Dice], Iterator[Fault]]


def _target(names: list[str], roll: Dice) -> str:
    return LEADER if roll.random() < 0.4 else roll.choice(names)


def _while(roll: Dice, longest: float = 6.0) -> float:
    """Most troubles are short, some are long."""
    return roll.choice((0.05, 0.3, 1.0, 1.0)) * longest * roll.random()


def _kill(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    target = _target(names, roll)
    yield Fault(at, "kill", (target,))
    yield Fault(at + _while(roll), "start_all")


def _kill_many(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(at + roll.choice((0.0, 0.05)) * roll.random(), "kill", (name,))
    yield Fault(at + _while(roll, 3.0), "start_all")


def _power_cut(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "cut_power", (_target(names, roll),))
    yield Fault(at + _while(roll), "start_all")


def _power_cut_many(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(at, "cut_power", (name,))
    yield Fault(at + _while(roll, 3.0), "start_all")


def _kill_then_power_cut(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """What a kill left in the page cache is believed by the next process, then lost."""
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(at, "kill", (name,))
    restarted = at + _while(roll, 1.0)
    yield Fault(restarted, "start_all")
    again = restarted + _while(roll, 3.0)
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(again, "cut_power", (name,))
    yield Fault(again + _while(roll, 3.0), "start_all")


def _leave(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "stop", (_target(names, roll),))
    yield Fault(at + 0.2 + _while(roll), "start_all")


def _pause(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "pause", (_target(names, roll), _while(roll, 5.0)))


def _isolate(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "isolate", (_target(names, roll),))
    yield Fault(at + _while(roll, 8.0), "heal", ("isolate",))


def _halve(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    some = roll.sample(names, roll.randint(1, len(names)))
    yield Fault(at, "part", tuple(sorted(some)))
    yield Fault(at + _while(roll, 8.0), "heal", ("part",))


def _one_way(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for _ in range(roll.randint(1, 3)):
        yield Fault(at, "cut", (_target(names, roll), roll.choice(names)))
    yield Fault(at + _while(roll, 8.0), "heal", ("cut",))


def _mute(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    kind = roll.choice(("mute", "deafen"))
    yield Fault(at, kind, (_target(names, roll),))
    yield Fault(at + _while(roll, 8.0), "heal", (kind,))


def _bridge(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Two halves that see one node in common."""
    yield Fault(at, "bridge", (_target(names, roll),))
    yield Fault(at + _while(roll, 8.0), "heal", ("bridge",))


def _ring(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Each node sees a majority, no two see the same one."""
    if len(names) > 1:
        yield Fault(at, "ring")
    yield Fault(at + _while(roll, 8.0), "heal", ("ring",))


def _flap(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    target = _target(names, roll)
    for _ in range(roll.randint(3, 10)):
        yield Fault(at, "isolate", (target,))
        at += roll.uniform(0.05, 0.6)
        yield Fault(at, "heal", ("isolate",))
        at += roll.uniform(0.05, 0.6)


def _reset(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for _ in range(roll.randint(1, 4)):
        yield Fault(at, "reset", (_target(names, roll), roll.choice(names)))
        at += _while(roll, 1.0)


def _refuse(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    target = _target(names, roll)
    yield Fault(at, "refuse", (target,))
    yield Fault(at, "reset", (target, roll.choice(names)))
    yield Fault(at + _while(roll), "heal", ("refuse",))


def _slow_link(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    low = roll.choice((0.02, 0.1, 0.3))
    yield Fault(at, "slow_link", (_target(names, roll), low, low * roll.uniform(1, 3)))
    yield Fault(at + _while(roll), "heal", ("slow_link",))


def _throttle(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "throttle", (_target(names, roll), roll.choice((3_000.0, 100_000.0))))
    yield Fault(at + _while(roll), "heal", ("throttle",))


def _slow_disk(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    low = roll.choice((0.02, 0.2, 0.8))
    yield Fault(at, "slow_disk", (_target(names, roll), low, low * roll.uniform(1, 3)))
    yield Fault(at + _while(roll), "mend_disks")


def _fail_sync(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "fail_sync", (_target(names, roll),))


def _fill_disk(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "fill_disk", (_target(names, roll),))
    yield Fault(at + _while(roll), "mend_disks")


def _clock(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "skew", (_target(names, roll), roll.choice((-3.6e6, -500.0, 500.0, 3.6e6))))


def _cut_clients(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "cut_clients", (_target(names, roll),))
    yield Fault(at + _while(roll), "heal", ("cut_clients",))


def _wipe(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Always the same node, as above all others' disks must stay whole."""
    if len(names) > 1:
        yield Fault(at, "wipe", (names[-1],))
        yield Fault(at + _while(roll, 2.0), "start_all")


def _damage(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Always the same node, so that a majority of disks stays whole."""
    if len(names) > 1:
        yield Fault(at, "kill", (names[-1],))
        yield Fault(at + 0.001, "flip_bit", (names[-1],))
        yield Fault(at + _while(roll, 2.0), "start_all")


_FAMILIES: tuple[Family, ...] = (
    _kill,
    _kill_many,
    _power_cut,
    _power_cut_many,
    _kill_then_power_cut,
    _leave,
    _pause,
    _isolate,
    _halve,
    _one_way,
    _mute,
    _bridge,
    _ring,
    _flap,
    _reset,
    _refuse,
    _slow_link,
    _throttle,
    _slow_disk,
    _fail_sync,
    _fill_disk,
    _clock,
    _cut_clients,
    _wipe,
    _damage,
)
