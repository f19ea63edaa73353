"""All measurements of the replica's benchmark, in the order in which they run, and their keys.

Each starts its own cluster and fills in its keys.
"""

from __future__ import annotations

from benchmarks.million import measure_million
from benchmarks.outages import (
    measure_catch_up,
    measure_elections_under_load,
    measure_failover,
    measure_frozen_leader,
    measure_isolated_leader,
)
from benchmarks.results import Measurement
from benchmarks.speeds import (
    measure_batches,
    measure_idle,
    measure_outstanding,
    measure_single,
)

MEASUREMENTS = (
    Measurement(("fdatasync_p50_ms", "single_p50_ms", "single_follower_p50_ms"), measure_single),
    Measurement(("outstanding_100_per_second",), measure_outstanding),
    Measurement(("batch_1000_tasks_per_second",), measure_batches),
    Measurement(
        ("snapshot_s", "commit_ratio_during_snapshot", "restart_s", "livez_s"), measure_million
    ),
    Measurement(("idle_cpu_percent",), measure_idle),
    Measurement(("failover_median_s", "failover_worst_s"), measure_failover),
    Measurement(("frozen_leader_s",), measure_frozen_leader),
    Measurement(("isolated_leader_s",), measure_isolated_leader),
    Measurement(("catch_up_s",), measure_catch_up),
    Measurement(("elections_in_10_minutes_of_load",), measure_elections_under_load),
)
