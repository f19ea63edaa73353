"""What a run says of itself while it runs, as the one value that the cluster keeps for its task.

The cluster keeps one value a task and hands it to the next run. Progress that is only to be looked
at is that value as it is; a checkpoint is its member `checkpoint`, with the progress beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MEMBERS = {"progress", "checkpoint"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, and from where the next one could go on; None is nothing."""

    shown: Any = None
    checkpoint: Any = None

    @classmethod
    def read(cls, value: Any) -> Progress:
        """What an earlier run left; what it only showed is not handed on."""
        if isinstance(value, dict) and "checkpoint" in value and value.keys() <= _MEMBERS:
            return cls(checkpoint=value["checkpoint"])
        return cls()

    def written(self) -> Any:
        """The value that the cluster keeps."""
        if self.checkpoint is None:
            return self.shown
        if self.shown is None:
            return {"checkpoint": self.checkpoint}
        return {"progress": self.shown, "checkpoint": self.checkpoint}
