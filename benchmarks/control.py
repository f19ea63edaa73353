"""How the driver of a benchmark steers its processes: JSON lines over their stdin and stdout.

A request is `{"id": …, "op": …, …}`; its answer, whenever it comes, `{"id": …, "result": …}` or
`{"id": …, "error": …}`. Requests run side by side. What a process says besides goes to stderr. Both
ends read CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from node.lifeline import PARENT_VARIABLE, hold_on_to_parent

LINE_BYTES_MAX = 1024 * 1024

Operation = Callable[..., Awaitable[Any]]


class OperationFailed(Exception):
    """The process could not do what it was asked for. The message is its own."""


class ProcessGone(Exception):
    """The process ended before it answered."""


class Process:
    """A child process that answers requests."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, script: Path, settings: Mapping[str, Any]) -> Self:
        """Run *script* with this Python, its settings as JSON in its one argument."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            json.dumps(settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; a frozen one is running."""
        return self._process.returncode is None

    async def ask(self, op: str, **arguments: Any) -> Any:
        """Have the process do *op* and return what it answers.

        Raises:
            OperationFailed: it could not.
            ProcessGone: it ended first.
        """
        if self._reader.done():
            raise ProcessGone(f"process {self.pid} has ended")
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "op": op, **arguments})
        self._process.stdin.write(line.encode() + b"\n")
        try:
            return await future
        finally:
            self._waiting.pop(number, None)

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far, to a hundredth of a second."""
        return cpu_seconds_of(self.pid)

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections and does nothing until `thaw`."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL, and wait: nothing of it is left when this returns."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            future = self._waiting.get(answer["id"])
            if future is None or future.done():
                continue
            if "error" in answer:
                future.set_exception(OperationFailed(answer["error"]))
            else:
                future.set_result(answer["result"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ProcessGone(f"process {self.pid} ended"))


def cpu_seconds_of(pid: int) -> float:
    """Processor time of all threads of a process so far, to a hundredth of a second."""
    content = Path(f"/proc/{pid}/stat").read_text()
    fields = content.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc(5).
    return ticks / os.sysconf("SC_CLK_TCK")


async def serve(operations: Mapping[str, Operation]) -> None:
    """Answer requests on stdin until it ends. For the process that is steered."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running: set[asyncio.Task[None]] = set()
    async for line in reader:
        task = loop.create_task(_answer(operations, json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


def settings() -> dict[str, Any]:
    """What `Process.start` handed over, after tying this process's life to its parent's."""
    hold_on_to_parent()
    read: dict[str, Any] = json.loads(sys.argv[1])
    return read


async def _answer(operations: Mapping[str, Operation], request: dict[str, Any]) -> None:
    number, op = request.pop("id"), request.pop("op")
    try:
        answer = {"id": number, "result": await operations[op](**request)}
    except Exception as error:  # noqa: BLE001 - whatever it was, the driver is who must know.
        answer = {"id": number, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
