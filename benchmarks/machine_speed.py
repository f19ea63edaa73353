"""What a task costs from its submission to its end, with few and with very many others waiting."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from benchmarks.machine_driver import ENTRY_COMMANDS, Driver
from benchmarks.results import Result, Results, say

WAITING = (1_000, 100_000, 1_000_000)
ROUNDS = 200  # Of a hundred tasks submitted, leased and completed.
APPLY_US_MAX = 20.0
GROWTH_MAX = 1.3
STEPS = ("decode", "apply", "seal")


def measure_speed(tasks: int) -> Results:
    """Fill up to each number of waiting tasks, and let tasks pass through there."""
    driver = Driver()
    driver.phase = "fill"
    driver.employ()
    by_waiting = {}
    filled = 0
    for waiting in (number for number in WAITING if number <= tasks):
        say(f"submit, lease, complete beside {waiting:,} waiting tasks")
        driver.submit(waiting - filled)
        filled = waiting
        by_waiting[f"{waiting:,}"] = _pass_through(driver)
    applies = [taken["apply"] for taken in by_waiting.values()]
    return {
        "apply_us_per_task": Result(
            value=max(applies), bar=APPLY_US_MAX, details={"waiting": by_waiting}
        ),
        "apply_growth": Result(value=applies[-1] / applies[0], bar=GROWTH_MAX),
    }


def _pass_through(driver: Driver) -> dict[str, float]:
    """Microseconds a task for each step, while as many tasks come as end: medians of the rounds."""
    rounds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        driver.taken_ns.clear()
        driver.submit(ENTRY_COMMANDS)
        passed = driver.complete()
        for step in STEPS:
            rounds[step].append(driver.taken_ns[step] / passed / 1e3)
    return {step: round(median(each), 2) for step, each in rounds.items()} | {
        "apply_best": round(min(rounds["apply"]), 2)
    }
