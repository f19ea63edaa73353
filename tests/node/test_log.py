"""What goes on for long is said now and then."""

from __future__ import annotations

import logging

import pytest

from node.log import Rarely

LOG = logging.getLogger(__name__)


def test_the_same_reason_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    rarely = Rarely(LOG)

    for port in (5000, 5001, 5000):
        rarely.warn("no gateway", OSError(f"the last: http://127.0.0.1:{port}: no quorum"))

    assert len(caplog.messages) == 1


def test_a_new_reason_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    rarely = Rarely(LOG)

    rarely.warn("no gateway", OSError("no quorum"))
    rarely.warn("no gateway", OSError("connection refused"))

    assert caplog.messages == ["no gateway: no quorum", "no gateway: connection refused"]


def test_the_same_reason_is_said_again_later(caplog: pytest.LogCaptureFixture) -> None:
    rarely = Rarely(LOG, interval_seconds=0)

    rarely.warn("no gateway", OSError("no quorum"))
    rarely.warn("no gateway", OSError("no quorum"))

    assert len(caplog.messages) == 2
