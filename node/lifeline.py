"""Ties a child process to its parent: it dies with it, and tells it how its start went.

When the parent dies, even of SIGKILL, so does the child: on Linux only (PR_SET_PDEATHSIG);
elsewhere a killed parent leaves its children to be stopped by hand. What is announced goes through
a pipe that the parent made: no other process can say it in this one's name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys

PARENT_VARIABLE = "QUORATE_PARENT"  # Set by `node.children`, never by people: the parent's pid.
ANNOUNCE_VARIABLE = "QUORATE_ANNOUNCE"  # Likewise: the pipe's descriptor.
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_announce_to: int | None = None  # The pipe, once it was taken over.


def hold_on_to_parent() -> None:
    """Ask the kernel to end this process with its parent, if a parent asked for it.

    The child asks for itself: a `preexec_fn` would fork a process that may have threads.
    """
    _take_over_pipe()
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # It died before the kernel was asked.


def announce(**fields: str) -> None:
    """Tell the parent something about this process; without one that listens, nothing happens."""
    if _announce_to is None:
        return
    # A parent that is gone, or that has not read for long, must not hold us up.
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(_announce_to, json.dumps(fields).encode() + b"\n")


def _take_over_pipe() -> None:
    global _announce_to
    descriptor = os.environ.pop(ANNOUNCE_VARIABLE, None)
    if descriptor is None:
        return
    _announce_to = int(descriptor)
    os.set_inheritable(_announce_to, False)  # What a handler starts speaks for itself.
    os.set_blocking(_announce_to, False)
