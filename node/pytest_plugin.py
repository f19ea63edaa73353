"""The pytest plugin: `quorate_cluster`, a real cluster in the test's own process.

pytest loads it wherever Quorate is installed: it imports nothing until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node.testing import MemoryCluster


@pytest.fixture
def quorate_cluster() -> Iterator[MemoryCluster]:
    """A cluster of one node, in memory: `serve` your handlers, and call it at its `url`."""
    from node.testing import MemoryCluster  # noqa: PLC0415 - Other people's tests pay for nothing.

    with MemoryCluster() as cluster:
        yield cluster
