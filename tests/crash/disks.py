"""Disks of our own: file systems in files, which lose power when told to, and small ones that fill.

Needs root, loop devices and mkfs.ext4. What is mounted here is seen by this process and its
children alone and goes with the last of them, even if they are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

_GOING_DOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN; linux/ext4.h, and xfs has the same number.
_NO_LOG_FLUSH = struct.pack("I", 2)  # What is not in the journal yet is lost, as without power.
_CLONE_NEWNS = 0x20000  # linux/sched.h
_MS_REC_PRIVATE = 0x4000 | 0x40000  # linux/mount.h
_DISK_BYTES = 384 * 1024 * 1024  # Of a file that holds what was written only.


class LoopDisk:
    """An ext4 of its own at `path`."""

    def __init__(self, image: Path, path: Path) -> None:
        self.path = path
        self._image = image
        self._is_mounted = False
        path.mkdir(parents=True)
        with image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", str(image))
        self.mount()

    def mount(self) -> None:
        """Bring it up; the file system replays its journal as after any power cut."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))
        self._is_mounted = True

    def lose_power(self) -> None:
        """From this call on nothing reaches the disk, and what was not durable never did.

        The processes that use it are to be stopped before, or they may be told of a sync that was
        none; and to be killed, and the disk unmounted, before it is mounted.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _GOING_DOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Take it down. Does nothing when it is down."""
        if self._is_mounted:
            _unmount(self.path)
            self._is_mounted = False


class SmallDisk:
    """A file system in memory that is soon full, and can be given room."""

    def __init__(self, path: Path, *, kibibytes: int) -> None:
        self.path = path
        path.mkdir(parents=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "none", str(path))

    def make_room(self, *, kibibytes: int) -> None:
        """Grow to this size."""
        _run("mount", "-o", f"remount,size={kibibytes}k", str(self.path))

    def unmount(self) -> None:
        """Take it down."""
        _unmount(self.path)


def why_not(*, loop: bool) -> str:
    """Why this machine cannot give us such disks; empty when it can. Leaves nothing behind."""
    if os.geteuid() != 0:
        return "mounting needs root"
    try:
        _keep_mounts_to_ourselves()
    except OSError as error:
        return f"mounts cannot be kept to this process: {error}"
    if loop and shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4 is not installed"
    with tempfile.TemporaryDirectory() as directory:
        try:
            disk = (
                LoopDisk(Path(directory, "image"), Path(directory, "disk"))
                if loop
                else SmallDisk(Path(directory, "disk"), kibibytes=64)
            )
        except (OSError, subprocess.CalledProcessError) as error:
            return f"a file system cannot be mounted here: {getattr(error, 'stderr', '') or error}"
        disk.unmount()
    return ""


@cache
def _keep_mounts_to_ourselves() -> None:
    """Move this process into a mount namespace of its own, once."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


def _unmount(path: Path) -> None:
    try:
        _run("umount", str(path))
    except subprocess.CalledProcessError:
        # Something of ours still has a file open: let it go from the tree now, wholly later.
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("umount", "-l", str(path))
        raise
