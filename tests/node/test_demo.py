"""The story of `make demo` is told of what was seen, and of nothing else."""

from __future__ import annotations

import json
from typing import Any

from gateway import Client
from node.context import Context
from node.demo import shown
from node.tasks import task
from node.testing import MemoryCluster
from tests.conftest import CommandLine


@task("echo")
def echo(_context: Context, text: str) -> str:
    return text


def test_the_story_counts_the_tasks_that_outlived_the_leader(command_line: CommandLine) -> None:
    done = command_line.run("up", "--demo", "--exit", "--workers", "1", "--json")
    events: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 0, done.stdout
    (restarted,) = (event for event in events if event["event"] == "restarted")
    assert (restarted["told"], restarted["kept"]) == (4, 4)


async def test_a_task_that_is_gone_or_has_another_result_is_not_counted(
    quorate_cluster: MemoryCluster,
) -> None:
    quorate_cluster.serve(echo)
    async with Client(quorate_cluster.url) as client:
        handle = await client.submit(echo, "kept")
        await handle.result(timeout=10)
        gone = "00000000-0000-7000-8000-000000000000"

        assert await shown(client, {handle.id: "kept"}) == 1
        assert await shown(client, {handle.id: "changed", gone: None}) == 0
