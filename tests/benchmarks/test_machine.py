"""The machine's benchmark runs and reports every key; its figures are not looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    *("apply_us_per_task", "apply_growth", "bytes_per_task", "accounted_error"),
    *("longest_pause_ms", "snapshot_s", "load_s"),
}


def test_every_key_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "machine.py"), "--json", "--quick"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode in {0, 1}, done.stderr  # Bars are not met in a hurry.
    results = json.loads(done.stdout)["results"]["machine"]
    assert set(results) == KEYS
    assert all(result["value"] > 0 for result in results.values())
