"""Work in a forked child: it sees the memory as it is at this moment, and the parent goes on.

The child keeps nothing of the parent's: it closes every descriptor first, so that no port and no
lock outlives a killed parent, and it dies with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import warnings
from collections.abc import Callable

from cluster.errors import StorageError

_NICENESS = 10
_FIRST_OWN_DESCRIPTOR = 3  # 0, 1 and 2 are the standard ones.
_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


async def run(work: Callable[[], None], *, what: str) -> None:
    """Run *work* in a child and wait for its end; cancelled, the child is killed.

    Raises:
        StorageError: the child did not end well; names *what* it was to make.
    """
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python warns of forking beside threads: the child runs no lock that they may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            child = os.fork()
        except OSError as error:
            raise StorageError(f"{what} could not be written: {error.strerror}") from error
    if child == 0:
        _be_the_child(work, parent)
    try:
        status = await _ended(child)
    except BaseException as error:
        os.kill(child, signal.SIGKILL)
        _reap(child)
        if isinstance(error, OSError):
            raise StorageError(f"{what} could not be written: {error.strerror}") from error
        raise
    if status != 0:
        raise StorageError(f"{what} could not be written: the child ended with status {status}")


async def _ended(child: int) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    descriptor = os.pidfd_open(child)
    loop.add_reader(descriptor, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return _reap(child)


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _reap(child: int) -> int:
    """The exit status of a child that has ended, or ends at once."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_the_child(work: Callable[[], None], parent: int) -> None:
    status = 1
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # Else it died before we asked to die with it.
            os.closerange(_FIRST_OWN_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.nice(_NICENESS)
            gc.disable()
            work()
            status = 0
    finally:
        os._exit(status)
