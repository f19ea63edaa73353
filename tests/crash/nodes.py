"""A cluster of runner processes: started, asked, killed by pid, and never left behind.

Says nothing of what must hold: that is the ledger's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from cluster import codec
from cluster.compiled import INTERPRETED
from cluster.core.commands import Command
from node.lifeline import PARENT_VARIABLE
from node.ports import is_free
from node.waiting import wait_until
from tests.crash.runner import LINE_BYTES_MAX

HOST = "127.0.0.1"
ANSWER_SECONDS = 20.0  # The runner gives up on its own long before.
READY_SECONDS = 30.0
_RUNNER = Path(__file__).with_name("runner.py")
_FIRST_PORT = 12_000 + os.getpid() % 400 * 20  # Below what the kernel hands out to clients.
_ports = itertools.count(_FIRST_PORT)
_STILL = "TDZX"  # proc_pid_stat(5): stopped, in an uninterruptible system call, dead, gone.

Object = dict[str, Any]
T = TypeVar("T")


class Gone(Exception):
    """The process ended before it answered: what it was asked may have happened."""


class Process:
    """One runner process, from its start to its end."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, on_line: OnLine) -> None:
        self.name = name
        self.lines: list[str] = []  # Of its log.
        self.incarnation = ""
        self._process = process
        self._on_line = on_line
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Object]] = {}
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[bool] = loop.create_future()
        self._moved = asyncio.Event()
        self._readers = [loop.create_task(self._read_answers()), loop.create_task(self._read_log())]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    @property
    def is_still(self) -> bool:
        """Whether each of its threads is stopped, or will be as soon as its system call ends."""
        tasks = Path("/proc", str(self.pid), "task")
        if not self.is_running or not tasks.is_dir():
            return True
        states = (_state(task / "stat") for task in tasks.iterdir())
        return all(state in _STILL for state in states)

    @property
    def last_words(self) -> str:
        return self.lines[-1] if self.lines else "nothing"

    async def started(self) -> bool:
        """Wait until it serves, or has ended without."""
        return await asyncio.shield(self._started)

    async def ended(self) -> int:
        """Wait for its end and its last line."""
        await asyncio.wait(self._readers)
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(ConnectionError):  # What it was asked and did not read.
            await self._process.stdin.wait_closed()
        return await self._process.wait()

    async def ask(self, do: str, **arguments: Any) -> Object:
        """The runner's answer; see `runner.ACTIONS`.

        Raises:
            Gone: it ended first.
        """
        if not self.is_running:
            raise Gone(self.name)
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"number": number, "do": do, **arguments}).encode() + b"\n"
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer: Object = await future
                return answer
        finally:
            self._asked.pop(number, None)

    async def line(self, pattern: str, *, timeout_seconds: float = READY_SECONDS) -> str:
        """The first line of its log that *pattern* is found in, waited for.

        Raises:
            TimeoutError: it did not come in time, or the process ended without it.
        """
        expression = re.compile(pattern)
        async with asyncio.timeout(timeout_seconds):
            seen = 0
            while True:
                self._moved.clear()
                for line in self.lines[seen:]:
                    if expression.search(line):
                        return line
                seen = len(self.lines)
                if self._readers[1].done():
                    raise TimeoutError(f"{self.name} ended without a line like {pattern!r}")
                await self._moved.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens once it has ended."""
        if self.is_running:
            self._process.send_signal(number)

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            row = json.loads(line)
            if "event" in row:
                self.incarnation = row["incarnation"]
                self._started.set_result(True)
            elif (future := self._asked.get(row["number"])) is not None and not future.done():
                future.set_result(row)
        await self._process.wait()
        if not self._started.done():
            self._started.set_result(False)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(Gone(self.name))

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            text = line.decode(errors="replace").rstrip("\n")
            self.lines.append(text)
            self._on_line(self.name, text)
            self._moved.set()
        await self._process.wait()
        self._moved.set()


OnLine = Callable[[str, str], None]


class Nodes:
    """Three nodes, say, each with a data directory and an address of its own."""

    def __init__(self, directory: Path, *, size: int = 3, **options: Any) -> None:
        self.options = options
        self.interpreted: set[str] = set()  # The names of those that run the machine's sources.
        names = [f"node{number}" for number in range(1, size + 1)]
        self.data = {name: directory / name for name in names}
        self.addresses = {name: f"{HOST}:{_next_port()}" for name in names}
        self.newest: dict[str, Process] = {}  # The newest process of each name, ended ones too.
        self.log: list[tuple[str, str]] = []  # Every line of every process.
        self._kept_log = directory / "nodes.log"
        self._processes: list[Process] = []

    @property
    def names(self) -> list[str]:
        return list(self.addresses)

    @property
    def running(self) -> list[Process]:
        """Those that run and have said that they serve."""
        return [p for p in self.newest.values() if p.is_running and p.incarnation]

    def __getitem__(self, name: str) -> Process:
        return self.newest[name]

    async def launch(self, name: str, *, crash_at: str = "") -> Process:
        """Start a node on what its directory holds; it may die at once."""
        running = self.newest.get(name)
        assert running is None or not running.is_running, f"{name} is already running"
        options = {
            "node_id": name,
            "members": self.addresses,
            "data": str(self.data[name]),
            "http": f"http://{name}.example:80",
            "lease_seconds": 600.0,
            **self.options,
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QUORATE_")}
        environment |= {
            PARENT_VARIABLE: str(os.getpid()),
            "PYTHONPATH": str(_RUNNER.parent.parent.parent),
            "QUORATE_CRASH_AT": crash_at,
        }
        if name in self.interpreted:
            environment[INTERPRETED] = "1"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_RUNNER),
            json.dumps(options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            env=environment,
        )
        self.newest[name] = started = Process(name, process, self._note)
        self._processes.append(started)
        return started

    async def start(self, *names: str) -> None:
        """Start nodes, all by default, and wait until each serves."""
        started = [await self.launch(name) for name in names or self.names]
        for process in started:
            is_serving = await process.started()
            assert is_serving, f"{process.name} ended at its start: {process.last_words}"

    async def start_the_ended(self) -> None:
        """Start again whatever does not run."""
        ended = [n for n in self.names if n not in self.newest or not self.newest[n].is_running]
        if ended:
            await self.start(*ended)

    async def kill(self, *names: str) -> None:
        """SIGKILL them, all before any is waited for."""
        for name in names:
            self.newest[name].signal(signal.SIGKILL)
        for name in names:
            await self.newest[name].ended()

    async def still(self, *names: str) -> None:
        """SIGSTOP them, and wait until not one of their threads can say another word."""
        for name in names:
            self.newest[name].signal(signal.SIGSTOP)

        async def are_still() -> bool:
            return all(self.newest[name].is_still for name in names)

        await self.until(are_still, f"{', '.join(names)} to stand still")

    def _note(self, name: str, line: str) -> None:
        self.log.append((name, line))
        with self._kept_log.open("a") as file:
            file.write(f"{name} {line}\n")

    async def close(self) -> None:
        """Leave no process behind."""
        running = [process for process in self._processes if process.is_running]
        for process in running:
            process.signal(signal.SIGKILL)
        for process in self._processes:
            await process.ended()

    # Asking.

    async def propose(self, name: str, command: Command[Any], **arguments: Any) -> Object:
        """Propose through one node; the fate is done, refused or unknown."""
        packed = base64.b64encode(codec.pack_command(command)).decode()
        try:
            return await self.newest[name].ask("propose", command=packed, **arguments)
        except Gone as error:
            return {"fate": "unknown", "error": repr(error)}

    async def statuses(self) -> list[Object]:
        """What every running node says of itself."""
        answers = await asyncio.gather(
            *(process.ask("status") for process in self.running), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Gone):
                raise answer
        return [answer for answer in answers if isinstance(answer, dict)]

    async def leader(self) -> str:
        """Wait until a node serves as the leader, and return its name."""

        async def serving() -> str | None:
            leaders = [s for s in await self.statuses() if s["is_serving"]]
            return max(leaders, key=lambda s: s["term"])["node_id"] if leaders else None

        return await self.until(serving, "a leader that serves")

    async def make_lead(self, name: str) -> bool:
        """Have *name* lead; False if it ends meanwhile."""

        async def leads() -> bool:
            try:
                status = await self.newest[name].ask("status")
                if not status["is_serving"]:
                    await self.newest[name].ask("lead", to=name)
            except Gone:
                return True
            return bool(status["is_serving"])

        await self.until(leads, f"{name} to lead")
        return self.newest[name].is_running

    async def all_level(self, *, seconds: float = READY_SECONDS) -> list[Object]:
        """Wait until every node runs, is a member, and has applied the same index."""

        async def level() -> list[Object] | None:
            statuses = await self.statuses()
            indexes = {status["applied_index"] for status in statuses}
            return statuses if self._all_are_members(statuses) and len(indexes) == 1 else None

        return await self.until(level, "all nodes at one index", seconds=seconds)

    async def whole(self, *, seconds: float = READY_SECONDS) -> list[Object]:
        """Wait until every node runs, counts as a member and follows the one leader."""

        async def whole() -> list[Object] | None:
            statuses = await self.statuses()
            leaders = {s["leader"] if s["has_quorum"] else None for s in statuses}
            return statuses if self._all_are_members(statuses) and len(leaders) == 1 else None

        return await self.until(whole, "all nodes to follow one leader", seconds=seconds)

    def _all_are_members(self, statuses: list[Object]) -> bool:
        """Whether every node runs, knows the members, and is one with this very disk."""
        are_bound = all(s["is_member"] and s["stage"] == "FORMED" for s in statuses)
        return are_bound and len(statuses) == len(self.names)

    def count_lines(self, pattern: str) -> int:
        """How many lines of all logs *pattern* is found in."""
        expression = re.compile(pattern)
        return sum(1 for _, line in self.log if expression.search(line))

    async def until(
        self, holds: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = READY_SECONDS
    ) -> T:
        return await wait_until(holds, what=what, timeout_seconds=seconds)


def _state(stat: Path) -> str:
    """A thread's state, by the letter of proc_pid_stat(5)."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _next_port() -> int:
    return next(port for port in _ports if is_free(HOST, port))
