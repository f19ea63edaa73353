"""Ties a child process to its parent: when the parent dies, even of SIGKILL, so does the child.

Linux only (PR_SET_PDEATHSIG); elsewhere a killed parent leaves its children to be stopped by hand.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "QUORATE_PARENT"  # Set by `node.children`, never by people: the parent's pid.
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def hold_on_to_parent() -> None:
    """Ask the kernel to end this process with its parent, if a parent asked for it.

    The child asks for itself: a `preexec_fn` would fork a process that may have threads.
    """
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # It died before the kernel was asked.
