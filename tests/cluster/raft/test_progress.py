"""Who keeps up with a log that grows all the time."""

from __future__ import annotations

from cluster.raft.progress import Progress


def ask(progress: Progress, *, last: int, now: float) -> bool:
    return progress.has_caught_up(last, now=now, seconds=0.5)


def test_one_that_has_all_has_caught_up() -> None:
    progress = Progress(None, next_index=11)
    progress.acknowledged(10)

    assert ask(progress, last=10, now=0.0)


def test_one_that_is_always_a_little_behind_keeps_up() -> None:
    progress = Progress(None, next_index=1)
    assert not ask(progress, last=10, now=0.0)

    progress.acknowledged(10)

    assert ask(progress, last=15, now=0.4)


def test_a_round_that_took_long_is_followed_by_another() -> None:
    progress = Progress(None, next_index=1)
    assert not ask(progress, last=10, now=0.0)
    progress.acknowledged(9)
    assert not ask(progress, last=15, now=2.0)

    progress.acknowledged(10)
    assert not ask(progress, last=20, now=3.0)
    progress.acknowledged(20)

    assert ask(progress, last=25, now=3.3)


def test_with_another_disk_it_begins_anew() -> None:
    progress = Progress(None, next_index=1)
    ask(progress, last=10, now=0.0)
    progress.acknowledged(10)

    progress.forget()

    assert not ask(progress, last=11, now=0.1)
