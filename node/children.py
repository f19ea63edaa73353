"""One child process: started, listened to, signalled, and never left behind.

Knows nothing of clusters. The child runs our own command line.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from node.lifeline import PARENT_VARIABLE

_CHUNK_BYTES = 64 * 1024
_LINE_BYTES_MAX = 1024 * 1024  # A longer line is cut: nothing that a child writes fills our memory.

OnLine = Callable[[str, str], None]  # A child's name, and one line that it wrote.
OnExit = Callable[[str, int], None]  # A child's name, and its exit status as subprocess gives it.


class Child:
    """A running `quorate …` with its output read line by line, and kept in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, reader: asyncio.Task[int]):
        self.name = name
        self._process = process
        self._reader = reader

    def __repr__(self) -> str:
        state = "running" if self.is_running else f"ended with {self.status}"
        return f"<{self.name}, process {self.pid}, {state}>"

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        on_line: OnLine,
        on_exit: OnExit,
    ) -> Child:
        """Run `quorate ARGUMENTS` in a session of its own, so that Ctrl-C reaches us alone."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # Never the working directory before our own packages.
            "-m",
            "node",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"},
        )
        reader = asyncio.create_task(
            _follow(name, process, log, on_line, on_exit), name=f"output of {name}"
        )
        return cls(name, process, reader)

    @property
    def pid(self) -> int:
        """The process id, also after its end."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status as subprocess gives it, None while it runs."""
        return self._process.returncode

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended; a stopped (frozen) one is running."""
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self.is_running:
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end and its last line, and return the exit status."""
        return await asyncio.shield(self._reader)

    async def kill(self) -> None:
        """SIGKILL, and wait: nothing of it is left when this returns."""
        self.signal(signal.SIGKILL)
        await self.wait()

    async def stop(self, *, timeout_seconds: float) -> bool:
        """SIGTERM, then SIGKILL when the time is up. Returns whether it ended by itself."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # A frozen one must thaw to hear it.
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.wait()
        except TimeoutError:
            await self.kill()
            return False
        return True


async def _follow(
    name: str,
    process: asyncio.subprocess.Process,
    log: Path,
    on_line: OnLine,
    on_exit: OnExit,
) -> int:
    assert process.stdout is not None
    with log.open("ab", buffering=0) as file:
        rest = b""
        while chunk := await process.stdout.read(_CHUNK_BYTES):
            file.write(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LINE_BYTES_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                on_line(name, line.decode(errors="replace"))
        if rest:
            on_line(name, rest.decode(errors="replace"))
    status = await process.wait()
    on_exit(name, status)
    return status
