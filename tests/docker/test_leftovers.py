"""What a run on containers leaves when it is killed, and how it goes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest

from chaos.targets.engine import PROJECT, Engine
from node.waiting import wait_until
from tests.conftest import CommandLine
from tests.docker.conftest import HTTP_PORT

RUNNER = Path(__file__).with_name("frozen_runner.py")


@pytest.fixture
def killed_run() -> Iterator[list[str]]:
    """A run that was killed while its node was frozen: the project, and the node's URL."""
    with subprocess.Popen(
        [sys.executable, str(RUNNER), str(HTTP_PORT + 10)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as runner:
        assert runner.stdout is not None
        told = runner.stdout.readline().split()
        runner.kill()
    assert told, "the runner ended before it had anything to leave"
    yield told
    Engine.connect().remove_project(told[0])


async def test_heal_lets_what_was_frozen_go_on_and_down_removes_the_project(
    killed_run: list[str], command_line: CommandLine, state_directory: Path
) -> None:
    project, url = killed_run
    variables = {"QUORATE_CHAOS_STATE": str(state_directory)}
    [node] = _containers(project, "node1")
    assert node.status == "paused"

    healed = await asyncio.to_thread(command_line.run, "chaos", "heal", **variables)

    assert healed.returncode == 0, healed.stderr
    assert "node1 is paused no more" in healed.stdout
    async with aiohttp.ClientSession() as session:

        async def is_ready() -> bool:
            async with session.get(f"{url}/readyz") as answer:
                return answer.status == 200

        await wait_until(is_ready, what="node1 to serve again", timeout_seconds=30)

    gone = await asyncio.to_thread(command_line.run, "chaos", "heal", "--down", **variables)

    assert gone.returncode == 0, gone.stderr
    assert not _containers(project)
    with closing(docker.from_env()) as client:
        mine = {"label": f"{PROJECT}={project}"}
        assert not client.networks.list(filters=mine)
        assert not client.volumes.list(filters=mine)
    again = await asyncio.to_thread(command_line.run, "chaos", "heal", **variables)
    assert project not in again.stdout


def _containers(project: str, service: str = "") -> list[Any]:
    labels = [f"{PROJECT}={project}"]
    if service:
        labels.append(f"com.docker.compose.service={service}")
    with closing(docker.from_env()) as client:
        return list(client.containers.list(all=True, filters={"label": labels}))
