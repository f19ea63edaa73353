"""The benchmark of whole tasks runs and reports every key; its figures are not looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "tasks.py"
PROCESSES = {"leader", "follower", "worker", "client"}


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run it as briefly as it can."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--json", "--quick", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_key_is_measured_and_stands_beside_its_bar() -> None:
    done = run()
    assert done.returncode in {0, 1}, done.stderr  # Bars are not met in a hurry.
    report = json.loads(done.stdout)
    results = report["results"]

    assert set(results) == {
        *("submit_sdk_64_per_second", "submit_http_64_per_second", "batch_500_tasks_per_second"),
        *("drain_tasks_per_second", "start_p50_ms", "start_p99_ms", "result_p50_ms"),
        *("cold_start_s", "scale_up_ratio"),
    }
    for key, shown in results.items():
        is_floor = key.endswith(("per_second", "ratio"))
        is_met = shown["value"] >= shown["bar"] if is_floor else shown["value"] <= shown["bar"]
        assert (shown["value"] > 0, shown["met"]) == (True, is_met), key
    assert set(results["drain_tasks_per_second"]["cpu_ms_per_task"]) == PROCESSES
    assert report["met"] == all(shown["met"] for shown in results.values())
    assert done.returncode == (0 if report["met"] else 1)


def test_an_unknown_key_is_refused() -> None:
    assert run("--only", "speed").returncode == 2
