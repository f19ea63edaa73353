"""What tests share: real clusters on ports of their own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster import compiled, core

# What runs in the tests' own process are the sources, which a test may change and a coverage sees;
# the processes that tests start are as a user's are. `tests/cluster/core` is run on both forms.
if os.environ.get("QUORATE_TEST_COMPILED"):
    assert compiled.is_compiled(core), "nothing was compiled of these sources"
else:
    compiled.forgo(core)

from node.local import LocalCluster, LocalSettings

# Below the ports that the kernel hands out to clients, and apart for runs side by side.
_FIRST_PORT = 20_000 + os.getpid() % 500 * 20
_bases = itertools.count(_FIRST_PORT, 10)

StartCluster = Callable[..., Awaitable[LocalCluster]]


@pytest.fixture
def free_port() -> int:
    """A port from which a few are likely to be free; whoever binds looks for the next free one."""
    return next(_bases)


@pytest.fixture
async def start_cluster(tmp_path: Path) -> AsyncIterator[StartCluster]:
    """Start a real cluster and wait until it is ready; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> LocalCluster:
            cluster = LocalCluster(
                LocalSettings(
                    data=tmp_path, http_port=next(_bases), raft_port=next(_bases), **settings
                )
            )
            await stack.enter_async_context(cluster)
            await cluster.start()
            await cluster.wait_ready()
            return cluster

        yield start


class CommandLine:
    """Runs `quorate` as a user would, from a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Nobody's settings but the test's own.
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")
        }

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def running(self, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command as long as the context lasts; its output can be read line by line."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                # To the end of its output, or it might wait for a reader.
                process.communicate(timeout=60)

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The installed command, as a shell would find it."""
        return [str(Path(sys.executable).with_name("quorate")), *arguments]


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    """The `quorate` command."""
    return CommandLine(tmp_path)


@pytest.fixture(scope="module")
def small_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """One node and one worker for a whole file of tests: their URLs."""
    command_line = CommandLine(tmp_path_factory.mktemp("small_cluster"))
    options = ("--nodes", "1", "--workers", "1", "--port", str(next(_bases)), "--json")
    with command_line.running("up", *options) as process:
        assert process.stdout is not None
        events = (json.loads(line) for line in process.stdout)
        yield next(event["urls"] for event in events if event["event"] == "ready")
