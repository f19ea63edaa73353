"""Processes for the handlers that are to run in one: started when needed, kept for the next run.

A run that is to stop is stopped by killing its process, with all that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, Self

import msgpack

from node.context import Context, GiveUp
from node.lifeline import PARENT_VARIABLE
from node.outcomes import ProcessFailedError
from node.tasks import Handler

MESSAGE_BYTES_MAX = 64 << 20  # Far beyond what a task may hold.
END_SECONDS = 2.0  # For an idle process to end by itself: its modules may have things to clear.
_CHUNK_BYTES = 256 * 1024
# Our search path is handed on as it is: `-m` would put the working directory before our packages.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from node.handler_child import main; main(int(sys.argv[2]), *sys.argv[3:])"
)

log = logging.getLogger(__name__)


class Processes:
    """A worker's handler processes. As many run at once as runs are asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: list[_Process] = []
        self._is_closed = False

    async def run(
        self, handler: Handler[..., Any], context: Context, arguments: dict[str, Any]
    ) -> Any:
        """Run the handler and return its result; cancelled, it kills the process.

        Raises:
            GiveUp: no process can run this, at no attempt.
            ProcessFailedError: what the handler raised, or how its process ended.
        """
        module = handler.function.__module__
        if module == "__main__":
            raise GiveUp(
                f"the handler of {handler.name!r} is in the program's own file, which a process"
                " cannot import: put it into a module"
            )
        process = self._idle.pop() if self._idle else await _Process.start(self._name)
        try:
            result = await process.run((module, handler.function.__qualname__), context, arguments)
        except BaseException:
            if process.is_fit and not self._is_closed:
                self._idle.append(process)
            else:
                await asyncio.shield(process.kill())
            raise
        self._idle.append(process)
        return result

    async def close(self) -> None:
        """End the processes that are idle; every run has ended before."""
        self._is_closed = True
        await asyncio.gather(*(process.end() for process in self._idle))
        self._idle.clear()


class _Process:
    """One process, and our end of its socket."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.is_fit = True  # For another run: it waits for one.
        self._process = process
        self._reader = reader
        self._writer = writer
        self._unpacker = msgpack.Unpacker(max_buffer_size=MESSAGE_BYTES_MAX, strict_map_key=False)

    @classmethod
    async def start(cls, name: str) -> Self:
        """Start one, in a session of its own: Ctrl-C is the worker's to answer."""
        ours, theirs = socket.socketpair()
        level = logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", _BOOT, json.dumps(sys.path)),
                    *(str(theirs.fileno()), name, level),
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                    env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
                )
            except OSError as error:
                ours.close()
                raise ProcessFailedError(f"no process could be started: {error}") from error
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return cls(process, reader, writer)

    async def run(self, place: Sequence[str], context: Context, arguments: dict[str, Any]) -> Any:
        """Have the handler at *place*, its module and name, run there, and return its result."""
        self.is_fit = False
        self._writer.write(msgpack.packb((*place, _told(context), arguments)))
        while True:
            token, said, *values = await self._next()
            if token != context.lease_token:
                continue  # Of an earlier run, whose handler left a thread or a process behind.
            if said == "progress":
                context.progress(*values)
            elif said == "checkpoint":
                context.checkpoint(*values)
            else:
                break
        self.is_fit = True
        if said == "completed":
            return values[0]
        error, may_retry = values
        raise ProcessFailedError(error) if may_retry else GiveUp(error)

    async def kill(self) -> int:
        """End it with all that it started, wait until it has, and return its exit status."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        status = await self._process.wait()
        self._writer.close()
        return status

    async def end(self) -> None:
        """Let it end by itself, bounded."""
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        await self.kill()

    async def _next(self) -> list[Any]:
        """Its next message.

        Raises:
            ProcessFailedError: it ended without one.
        """
        while True:
            for message in self._unpacker:
                return list(message)
            chunk = await self._hear()
            if not chunk:
                raise ProcessFailedError(_end_of(await self.kill()))
            self._unpacker.feed(chunk)

    async def _hear(self) -> bytes:
        try:
            return await self._reader.read(_CHUNK_BYTES)
        except ConnectionError:
            return b""


def _told(context: Context) -> dict[str, Any]:
    return {
        "task_id": context.task_id,
        "type": context.type,
        "queue": context.queue,
        "attempt": context.attempt,
        "lease_token": context.lease_token,
        "meta": dict(context.meta),
        "traceparent": context.traceparent,
        "last_checkpoint": context.last_checkpoint,
    }


def _end_of(status: int) -> str:
    if status >= 0:
        return f"its process ended with status {status} before the handler did"
    return f"its process was killed by {signal.Signals(-status).name}"
