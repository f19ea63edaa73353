"""How much memory the tasks are given when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.memory import DEFAULT_BYTES_CAP, memory_bytes, memory_bytes_default

MACHINE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("max\n", MACHINE_BYTES),
        ("268435456\n", 268_435_456),
        ("9223372036854771712\n", MACHINE_BYTES),
    ],
)
def test_a_container_has_no_more_than_its_limit(tmp_path: Path, told: str, expected: int) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(told)

    assert memory_bytes([limit, tmp_path / "absent"]) == expected


def test_nodes_of_one_machine_share_what_one_would_have() -> None:
    assert memory_bytes_default() <= min(MACHINE_BYTES // 3, DEFAULT_BYTES_CAP)
    assert memory_bytes_default(nodes=1_000) == memory_bytes() // 3_000
