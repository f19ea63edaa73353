"""Plots: families of faults for themes, each a course of events that dice alone seldom come to."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.simulation.dice import Dice
from chaos.simulation.faults import LEADER, Fault


def late_echo(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """A leader is left with one follower, whose answers come when it has been deposed and is back.

    The others turn away from the leader, and soon from its successor; the one follower hears
    nothing of that.
    """
    leader, follower = roll.sample(names, 2)
    others = [name for name in names if name not in (leader, follower)]
    yield Fault(at, "change_leader", (leader,))
    at += 0.2
    yield Fault(at, "slow_way", (follower, leader, 1.0, 1.5))
    for other in others:
        yield Fault(at, "slow_way", (other, follower, 0.9, 1.0))
    at += roll.uniform(0.0, 0.3)
    for other in others:
        yield Fault(at, "reset", (leader, other))
    at += roll.uniform(0.1, 0.4)
    yield Fault(at, "change_leader", (leader,))
    yield Fault(at + roll.uniform(1.5, 3.0), "heal", ("slow_way",))


def late_vote(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """A vote that was not needed comes when its candidate, deposed since, stands again.

    It is asked to stand by a leader that has given up waiting for it, and committed more, by the
    time the asking arrives.
    """
    candidate, leader, voter = roll.sample(names, 3)
    yield Fault(at, "change_leader", (leader,))
    at += 0.3
    yield Fault(at, "slow_way", (voter, candidate, 1.5, 1.7))
    yield Fault(at + 0.01, "change_leader", (candidate,))
    at += roll.uniform(0.1, 0.3)
    yield Fault(at, "change_leader", (leader,))
    at += roll.uniform(0.1, 0.3)
    yield Fault(at, "slow_way", (leader, candidate, 0.6, 0.8))
    yield Fault(at + 0.01, "change_leader", (candidate,))
    yield Fault(at + 2.5, "heal", ("slow_way",))


def begin_anew(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """A leader is back so soon that a follower, deaf to the others, takes it for the leader still.

    Whatever it had handed over, and has not seen applied, it hands to the new process as well.
    """
    leader, follower = roll.sample(names, 2)
    yield Fault(at, "change_leader", (leader,))
    at += 0.4
    for other in names:
        if other not in (leader, follower):
            yield Fault(at, "slow_way", (other, follower, 1.0, 1.5))
    at += roll.uniform(0.1, 0.4)
    yield Fault(at, "crash", (leader, "driver.after_durable_delivery", 1, 0.01, "kill"))
    yield Fault(at + 1.5, "heal", ("slow_way",))


def stand_in_vain(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """One that was handed the lead dies before it asks for a vote, and is back in a later term."""
    leader, heir = roll.sample(names, 2)
    yield Fault(at, "change_leader", (leader,))
    at += 0.5
    yield Fault(at, "crash", (heir, "driver.after_durable", 1, 0.2, "kill"))
    yield Fault(at, "change_leader", (heir,))


def turn_away(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """All but a few lose their links to the leader, and so look for another at once."""
    for name in roll.sample(names, roll.randint(len(names) // 2, len(names) - 1)):
        yield Fault(at, "reset", (LEADER, name))


def estrange(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """One loses its link to the leader, for a moment or for a while; all others keep theirs."""
    one = roll.choice(names)
    if roll.random() < 0.5:
        yield Fault(at, "cut", (LEADER, one))
        yield Fault(at + roll.uniform(1.0, 4.0), "heal", ("cut",))
    yield Fault(at, "reset", (LEADER, one))


def usurp(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """The others elect another leader at once; the old one, cut off, has yet to notice."""
    for name in names:
        yield Fault(at, "reset", (LEADER, name))
    yield Fault(at + 0.01, "isolate", (LEADER,))
    yield Fault(at + roll.uniform(0.5, 1.5), "heal", ("isolate",))


def figure_eight(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """Two leaders die with an entry that nobody else has; the first one is back, and leads again.

    It and its one follower die as soon as both have that entry, and nothing of the new term. The
    second leader, back before it, has a newer term in that place.
    """
    first, *others = roll.sample(names, 3)
    second, follower = sorted(others)  # Of two that stand at once the lower one is let go first.
    yield Fault(at, "change_leader", (first,))
    at += roll.uniform(0.3, 0.6)
    back = roll.uniform(0.4, 0.6)
    # Entries leave before the own disk has them: so it is cut off, and that is known at its death.
    yield Fault(at, "isolate", (first,))
    yield Fault(at + 0.03, "crash", (first, "driver.after_durable", 1, back, "kill"))
    at += 0.25
    yield Fault(at, "heal", ("isolate",))
    for other in others:
        yield Fault(at + 0.01, "reset", (first, other))
    yield Fault(at + 0.02, "crash", (second, "driver.after_durable", 2, 2.0, "kill"))
    # Its vote is one generation, the entry another; with the third the new term would come.
    yield Fault(at + 0.15, "crash", (follower, "driver.before_generation", 3, 1.0, "kill"))
    yield Fault(at + 0.15, "crash", (first, "engine.after_apply", 1, 3.0, "kill"))


def fall_behind(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """A leader with a snapshot newer than its follower's dies with it; nobody else is near.

    Who was restarted takes its next snapshot sooner. The follower dies first, so that it lacks what
    the leader appended last, and comes back not knowing how much of its log is committed.
    """
    leader, follower, behind, *_ = roll.sample(names, len(names))
    yield Fault(at, "kill", (leader,))
    at += 0.1
    yield Fault(at, "start_all")
    at += 0.3
    yield Fault(at, "change_leader", (leader,))
    at += roll.uniform(0.1, 0.3)
    yield Fault(at, "isolate", (behind,))
    at += roll.uniform(0.1, 0.6)
    yield Fault(at, "kill", (follower,))
    at += roll.uniform(0.02, 0.1)
    yield Fault(at, "kill", (leader,))
    at += 0.1
    yield Fault(at, "start_all")
    yield Fault(at + roll.uniform(0.5, 1.5), "heal", ("isolate",))


def strand(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """A leader is alone with what it appends, while the others begin anew with short logs."""
    leader = roll.choice(names)
    yield Fault(at, "change_leader", (leader,))
    at += roll.uniform(0.1, 0.4)
    yield Fault(at, "isolate", (leader,))
    for name in names:
        if name != leader:
            yield Fault(at + 0.01, "kill", (name,))
    yield Fault(at + 0.1, "start_all")
    yield Fault(at + roll.uniform(0.4, 1.2), "heal", ("isolate",))


def outrun(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """One that decides alone loses its power amid a write, while another is catching up with it."""
    yield Fault(at, "add_member")
    at += roll.uniform(0.1, 0.4)
    yield Fault(at, "crash", (names[0], "storage.before_sync", 1, 0.3, "cut_power"))


def lose_cache(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """One dies between write and sync, comes back, and loses its power at its next sync.

    Another lags meanwhile, so that a majority hangs by what the one read back.
    """
    leader, victim, behind, *_ = roll.sample(names, len(names))
    yield Fault(at, "change_leader", (leader,))
    at += 0.4
    yield Fault(at, "isolate", (behind,))
    yield Fault(at, "crash", (victim, "storage.before_sync", 1, 0.05, "kill"))
    at += roll.uniform(0.2, 0.5)
    yield Fault(at, "crash", (victim, "storage.before_sync", 1, 0.3, "cut_power"))
    yield Fault(at + roll.uniform(0.6, 1.0), "heal", ("isolate",))


def vote_again(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """A new leader dies before it says a word; who voted for it is reborn, and asked once more.

    The one that asks, the leader before, has heard nothing of that term.
    """
    leader, *others = roll.sample(names, 3)
    yield Fault(at, "change_leader", (leader,))
    at += 0.4
    yield Fault(at, "isolate", (leader,))
    for other in others:
        yield Fault(at + 0.1, "crash", (other, "driver.after_durable", 1, 3.0, "kill"))
    at += roll.uniform(1.0, 1.5)
    for other in others:
        yield Fault(at, "crash", (other, "driver.before_tick", 1, 0.05, "kill"))
    yield Fault(at + 0.05, "heal", ("isolate",))


def rot(at: float, names: list[str], roll: Dice) -> Iterator[Fault]:
    """What one acknowledged is damaged while another lags; always the same one's disk."""
    behind = roll.choice(names[:-1])
    yield Fault(at, "isolate", (behind,))
    at += roll.uniform(0.1, 1.0)
    yield Fault(at, "kill", (names[-1],))
    yield Fault(at + 0.001, "flip_bit", (names[-1],))
    yield Fault(at + 0.1, "start_all")
    yield Fault(at + roll.uniform(0.3, 1.5), "heal", ("isolate",))
