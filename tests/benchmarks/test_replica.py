"""The replica's benchmark runs and reports every key; its figures are not looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "replica.py"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run it as briefly as it can."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--json", "--quick", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def results_of(*options: str) -> dict[str, dict[str, float]]:
    """Run it and return what it found for its one machine, by key."""
    done = run(*options)
    assert done.returncode in {0, 1}, done.stderr  # Bars are not met in a hurry.
    (results,) = json.loads(done.stdout)["results"].values()
    return results


@pytest.mark.parametrize(
    "keys",
    [
        ("single_p50_ms", "single_follower_p50_ms"),
        ("failover_median_s", "failover_worst_s"),
        ("isolated_leader_s",),
        ("catch_up_s",),
    ],
    ids=lambda keys: keys[0],
)
def test_each_kind_of_measurement_runs_to_its_end(keys: tuple[str, ...]) -> None:
    results = results_of("--machine", "noop", "--only", *keys)

    assert all(results[key]["value"] > 0 for key in keys)


def test_snapshots_and_restarts_are_measured_on_the_real_machine() -> None:
    keys = ("snapshot_s", "commit_ratio_during_snapshot", "livez_s", "restart_s")
    results = results_of("--machine", "real", "--only", *keys)

    assert all(results[key]["value"] > 0 for key in keys)


def test_what_is_measured_stands_beside_its_bar() -> None:
    results = results_of("--machine", "real", "--only", "outstanding_100_per_second")

    shown = results["outstanding_100_per_second"]
    assert shown["met"] == (shown["value"] >= shown["bar"])


def test_an_unknown_key_is_refused() -> None:
    assert run("--only", "speed").returncode == 2
