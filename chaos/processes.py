"""Processes of this machine, told apart for sure: a pid that was given out again is another's.

Reads /proc (proc(5)), so on Linux alone.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

_STATE, _STARTED = 0, 19  # Counted from the one after the command's name in brackets.
_LOOK_SECONDS = 0.02


class Identity(NamedTuple):
    """A process, for as long as the machine runs."""

    pid: int
    started: int  # In clock ticks since the machine's start.

    def is_alive(self) -> bool:
        """Whether it is there and has not ended, a frozen one included."""
        fields = _stat(self.pid)
        return (
            fields is not None
            and int(fields[_STARTED]) == self.started
            and fields[_STATE] not in {"Z", "X"}
        )

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal, and never anybody else; whether it was there."""
        try:
            # What the descriptor stands for stays the same, whatever becomes of the number.
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def end(self, *, timeout_seconds: float) -> bool:
        """SIGTERM, frozen or not, and SIGKILL when the time is up; whether it was there."""
        was_there = self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        until = time.monotonic() + timeout_seconds
        while self.is_alive() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        self.signal(signal.SIGKILL)
        return was_there


def identity_of(pid: int) -> Identity:
    """The process that has this pid now.

    Raises:
        ProcessLookupError: none has.
    """
    fields = _stat(pid)
    if fields is None:
        raise ProcessLookupError(f"there is no process {pid}")
    return Identity(pid, int(fields[_STARTED]))


def is_stopped(pid: int) -> bool:
    """Whether the process stands still where SIGSTOP found it."""
    fields = _stat(pid)
    return fields is not None and fields[_STATE] == "T"


def _stat(pid: int) -> list[str] | None:
    try:
        told = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return told.rpartition(")")[2].split()
