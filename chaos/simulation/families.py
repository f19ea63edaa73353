"""Families of faults: each yields one trouble, drawn by its dice, and what ends it.

A family is asked at a moment for nodes of these names. Which families a run draws from, and how
often, is its plan's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chaos.simulation.crashes import points
from chaos.simulation.dice import Dice
from chaos.simulation.faults import LEADER, Fault

Family = Callable[[float, list[str], Dice], Iterator[Fault]]


def target_of(names: list[str], roll: Dice) -> str:
    return LEADER if roll.random() < 0.4 else roll.choice(names)


def a_while(roll: Dice, longest: float = 6.0) -> float:
    """Most troubles are short, some are long."""
    return roll.choice((0.05, 0.3, 1.0, 1.0)) * longest * roll.random()


def kill(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    target = target_of(names, roll)
    yield Fault(at, "kill", (target,))
    yield Fault(at + a_while(roll), "start_all")


def kill_many(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(at + roll.choice((0.0, 0.05)) * roll.random(), "kill", (name,))
    yield Fault(at + a_while(roll, 3.0), "start_all")


def power_cut(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "cut_power", (target_of(names, roll),))
    yield Fault(at + a_while(roll), "start_all")


def power_cut_many(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(at, "cut_power", (name,))
    yield Fault(at + a_while(roll, 3.0), "start_all")


def kill_then_power_cut(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """What a kill left in the page cache is believed by the next process, then lost."""
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(at, "kill", (name,))
    restarted = at + a_while(roll, 1.0)
    yield Fault(restarted, "start_all")
    again = restarted + a_while(roll, 3.0)
    for name in roll.sample(names, roll.randint(1, len(names))):
        yield Fault(again, "cut_power", (name,))
    yield Fault(again + a_while(roll, 3.0), "start_all")


def leave(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "stop", (target_of(names, roll),))
    yield Fault(at + 0.2 + a_while(roll), "start_all")


def pause(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "pause", (target_of(names, roll), a_while(roll, 5.0)))


def isolate(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "isolate", (target_of(names, roll),))
    yield Fault(at + a_while(roll, 8.0), "heal", ("isolate",))


def halve(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    some = roll.sample(names, roll.randint(1, len(names)))
    yield Fault(at, "part", tuple(sorted(some)))
    yield Fault(at + a_while(roll, 8.0), "heal", ("part",))


def one_way(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for _ in range(roll.randint(1, 3)):
        yield Fault(at, "cut", (target_of(names, roll), roll.choice(names)))
    yield Fault(at + a_while(roll, 8.0), "heal", ("cut",))


def mute(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    kind = roll.choice(("mute", "deafen"))
    yield Fault(at, kind, (target_of(names, roll),))
    yield Fault(at + a_while(roll, 8.0), "heal", (kind,))


def bridge(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Two halves that see one node in common."""
    yield Fault(at, "bridge", (target_of(names, roll),))
    yield Fault(at + a_while(roll, 8.0), "heal", ("bridge",))


def ring(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Each node sees a majority, no two see the same one."""
    if len(names) > 1:
        yield Fault(at, "ring")
    yield Fault(at + a_while(roll, 8.0), "heal", ("ring",))


def flap(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    target = target_of(names, roll)
    for _ in range(roll.randint(3, 10)):
        yield Fault(at, "isolate", (target,))
        at += roll.uniform(0.05, 0.6)
        yield Fault(at, "heal", ("isolate",))
        at += roll.uniform(0.05, 0.6)


def reset(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for _ in range(roll.randint(1, 4)):
        yield Fault(at, "reset", (target_of(names, roll), roll.choice(names)))
        at += a_while(roll, 1.0)


def refuse(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    target = target_of(names, roll)
    yield Fault(at, "refuse", (target,))
    yield Fault(at, "reset", (target, roll.choice(names)))
    yield Fault(at + a_while(roll), "heal", ("refuse",))


def slow_link(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    low = roll.choice((0.02, 0.1, 0.3))
    yield Fault(at, "slow_link", (target_of(names, roll), low, low * roll.uniform(1, 3)))
    yield Fault(at + a_while(roll), "heal", ("slow_link",))


def throttle(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "throttle", (target_of(names, roll), roll.choice((3_000.0, 100_000.0))))
    yield Fault(at + a_while(roll), "heal", ("throttle",))


def slow_disk(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    low = roll.choice((0.02, 0.2, 0.8))
    yield Fault(at, "slow_disk", (target_of(names, roll), low, low * roll.uniform(1, 3)))
    yield Fault(at + a_while(roll), "mend_disks")


def fail_sync(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "fail_sync", (target_of(names, roll),))


def fill_disk(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "fill_disk", (target_of(names, roll),))
    yield Fault(at + a_while(roll), "mend_disks")


def clock(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "skew", (target_of(names, roll), roll.choice((-3.6e6, -500.0, 500.0, 3.6e6))))


def cut_clients(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "cut_clients", (target_of(names, roll),))
    yield Fault(at + a_while(roll), "heal", ("cut_clients",))


def wipe(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Always the same node, as above all others' disks must stay whole."""
    if len(names) > 1:
        yield Fault(at, "wipe", (names[-1],))
        yield Fault(at + a_while(roll, 2.0), "start_all")


def damage(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Always the same node, so that a majority of disks stays whole."""
    if len(names) > 1:
        yield Fault(at, "kill", (names[-1],))
        yield Fault(at + 0.001, "flip_bit", (names[-1],))
        yield Fault(at + a_while(roll, 2.0), "start_all")


def crash(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Death at a named point of the code, whenever it is next passed."""
    for _ in range(roll.randint(1, 3)):
        passes = roll.choice((1, 1, 2, 10, 100))
        how = roll.choice(("kill", "cut_power"))
        target = target_of(names, roll)
        yield Fault(at, "crash", (target, roll.choice(points()), passes, a_while(roll, 3.0), how))


def crash_while_forming(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """As above, from the first moment on: a new disk, a cluster that nobody is sure of yet."""
    for fault in crash(0.0, names, roll):
        yield fault
    for fault in crash(at, names, roll):
        yield fault


def add(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:  # noqa: ARG001 - a family.
    yield Fault(at, "add_member")


def remove(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "add_member")
    yield Fault(at + a_while(roll, 3.0), "remove_member", (target_of(names, roll),))


def replace(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    yield Fault(at, "replace_member", (target_of(names, roll),))


def change_leader(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    for _ in range(roll.randint(1, 3)):
        yield Fault(at, "change_leader", roll.choice(((), (roll.choice(names),))))
        at += a_while(roll, 1.0)


# A change of members takes for granted that every other member's disk is whole: not with these.
CHANGES = (add, remove, replace)
LOSSES = (wipe, damage)

FAMILIES: tuple[Family, ...] = (
    kill,
    kill_many,
    power_cut,
    power_cut_many,
    kill_then_power_cut,
    leave,
    pause,
    isolate,
    halve,
    one_way,
    mute,
    bridge,
    ring,
    flap,
    reset,
    refuse,
    slow_link,
    throttle,
    slow_disk,
    fail_sync,
    fill_disk,
    clock,
    cut_clients,
    wipe,
    damage,
    crash,
    crash_while_forming,
    add,
    remove,
    replace,
    change_leader,
)
