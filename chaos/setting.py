"""What an experiment runs on: how many, how quick, and what is wrong with them. Plain data."""

from __future__ import annotations

from typing import NamedTuple

TEACHING_PACE = 10.0  # Slow enough for a person to see who leads, and who still believes it.


class Setting(NamedTuple):
    """A cluster, its workers, and the habits of whoever uses and tends it."""

    nodes: int = 3
    workers: int = 2
    slots: int = 4  # Of each worker: so many tasks at once.
    lease_seconds: float = 3.0
    bug: str | None = None  # Planted in every node: see `chaos/planted_node.py`.
    pace: float = 1.0  # By which elections, heartbeats and stepping down take longer.
    are_requests_keyed: bool = True  # Who repeats a request repeats its idempotency key.
    is_operator_patient: bool = True  # One node at a time, the next once the last is back.
    are_disks_kept: bool = True  # A node that comes back finds its data directory.

    def at_teaching_pace(self) -> Setting:
        """The same, ten times as slow."""
        return self._replace(pace=self.pace * TEACHING_PACE)


USUAL = Setting()
