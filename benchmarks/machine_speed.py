"""What a task costs from its submission to its end, with few and with very many others waiting."""

from __future__ import annotations

from benchmarks.machine_driver import ENTRY_COMMANDS, Driver
from benchmarks.results import Result, Results, say

WAITING = (1_000, 100_000, 1_000_000)
ROUNDS = 200  # Of a hundred tasks submitted, leased and completed.
APPLY_US_MAX = 20.0
GROWTH_MAX = 1.3


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
    """Microseconds a task for each step, while as many tasks come as end."""
    driver.taken_ns.clear()
    passed = 0
    for _ in range(ROUNDS):
        driver.submit(ENTRY_COMMANDS)
        passed += driver.complete()
    return {step: round(taken / passed / 1e3, 2) for step, taken in driver.taken_ns.items()}
