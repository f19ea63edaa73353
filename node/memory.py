"""How much memory there is here, and how much of it the tasks may take when nobody says.

Reads what the system tells about itself; reserves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

DEFAULT_BYTES_CAP = 4 << 30  # Some seven million tasks: more is worth a decision of its own.

# Where a container's limit stands, by the two versions of control groups.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_bytes_default(*, nodes: int = 1) -> int:
    """A third of the machine's memory, or of the container's, parted among *nodes*; 4 GiB at most.

    While a snapshot is taken, the child that writes it comes to hold a copy of most records; and
    the log since the last snapshot, which is kept in memory, may grow to half of its size.
    """
    return min(memory_bytes() // (3 * nodes), DEFAULT_BYTES_CAP)


def memory_bytes(limits: Iterable[Path] = _LIMITS) -> int:
    """What this process may use: the machine's memory, or less where one of *limits* says so."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *filter(None, map(_limit, limits))])


def _limit(path: Path) -> int | None:
    """The number that the file holds, None when there is no file or no limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
