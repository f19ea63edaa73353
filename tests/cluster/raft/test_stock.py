"""What of pysyncobj reaches people: its warnings, but for the one that is never true of us."""

from __future__ import annotations

import logging

import pytest

import cluster.raft.stock as stock


def test_a_late_append_is_not_told_as_lost_state(caplog: pytest.LogCaptureFixture) -> None:
    assert stock.PYSYNCOBJ_VERSION == "0.3.17", "look whether its words are the same"
    logger = logging.getLogger("pysyncobj.syncobj")

    logger.critical("truncating already-applied log entries from index %d (last applied: %d)", 1, 2)
    logger.critical("failed to store the journal")

    assert [record.msg for record in caplog.records] == ["failed to store the journal"]
