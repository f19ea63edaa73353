"""One child process: started, listened to, signalled, and never left behind.

Knows nothing of clusters. The child runs our own command line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from node.lifeline import ANNOUNCE_VARIABLE, PARENT_VARIABLE

QUORATE = ("node",)
REST_SECONDS = 1.0  # To hear out a process that has ended: what it started may hold its pipe.
_CHUNK_BYTES = 64 * 1024
_LINE_BYTES_MAX = 1024 * 1024  # A longer line is cut: nothing that a child writes fills our memory.

OnLine = Callable[[str, str], None]  # A child's name, and one line that it wrote.
OnExit = Callable[[str, int], None]  # A child's name, and its exit status as subprocess gives it.


class Announcements:
    """What one child told us about itself (`node.lifeline.announce`), the newest of each kind."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._fields: dict[str, str] = {}
        self._rest = b""
        self._is_open = True

    @property
    def write_end(self) -> int:
        """The descriptor that the child is to inherit."""
        return self._write_end

    def keep_read_end(self) -> None:
        """Leave the other end to the child alone."""
        os.close(self._write_end)

    def get(self, kind: str) -> str | None:
        """What was announced last under this name."""
        self._drain()
        return self._fields.get(kind)

    def close(self) -> None:
        """Read what is left; nothing more comes."""
        self._drain()
        if self._is_open:
            self._is_open = False
            os.close(self._read_end)

    def _drain(self) -> None:
        while self._is_open:
            try:
                chunk = os.read(self._read_end, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._fields |= json.loads(line)


class Child:
    """A running `quorate …` with its output read line by line, and kept in a file."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.Task[int],
        announcements: Announcements,
    ) -> None:
        self.name = name
        self.announcements = announcements
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
        program: Sequence[str] = QUORATE,
    ) -> Child:
        """Run `quorate ARGUMENTS` in a session of its own, so that Ctrl-C reaches us alone.

        *program* is what Python runs instead: a module that ends in the same command line.
        """
        announcements = Announcements()
        # Not asyncio's own pipe: with one it takes the process for ended only once that is closed.
        output, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # Never the working directory before our own packages.
                "-m",
                *program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(announcements.write_end,),
                env=_environment(announcements.write_end),
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(write_end)
            announcements.keep_read_end()

        def on_end(_name: str, status: int) -> None:
            announcements.close()
            on_exit(name, status)

        reader = asyncio.create_task(
            _follow(name, process, output, log, on_line, on_end), name=f"output of {name}"
        )
        return cls(name, process, reader, announcements)

    @property
    def pid(self) -> int:
        """The process id, also after its end."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status as subprocess gives it, None while it runs."""
        return self._process.returncode

    @property
    def is_heard_out(self) -> bool:
        """Whether it has ended, and everything that it wrote was read."""
        return self._reader.done()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended; a stopped (frozen) one is running."""
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self.is_running:
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end and, for a moment, for its last line; return the exit status."""
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


def _environment(announce_to: int) -> dict[str, str]:
    """A child's: whose it is, where it says that it is up, and that its lines come as they are."""
    return {
        **os.environ,
        PARENT_VARIABLE: str(os.getpid()),
        ANNOUNCE_VARIABLE: str(announce_to),
        "PYTHONUNBUFFERED": "1",
    }


async def _follow(
    name: str,
    process: asyncio.subprocess.Process,
    output: int,
    log: Path,
    on_line: OnLine,
    on_exit: OnExit,
) -> int:
    stream = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(output, "rb", buffering=0)
    )
    reading = asyncio.create_task(_read(name, stream, log, on_line))
    status = await process.wait()
    await asyncio.wait([reading], timeout=REST_SECONDS)
    pipe.close()
    await reading
    on_exit(name, status)
    return status


async def _read(name: str, stream: asyncio.StreamReader, log: Path, on_line: OnLine) -> None:
    with log.open("ab", buffering=0) as file:
        rest = b""
        while chunk := await stream.read(_CHUNK_BYTES):
            file.write(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LINE_BYTES_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                on_line(name, line.decode(errors="replace"))
        if rest:
            on_line(name, rest.decode(errors="replace"))
