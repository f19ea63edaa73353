"""The story that `quorate up --demo` tells: three doors, one queue, and a leader that dies."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping

from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import TaskUnknown
from node.local import LocalCluster
from node.narrator import Narrator
from node.waiting import wait_until

FINISH_SECONDS = 30.0  # For one small task, an election included.


class Demo:
    """Tells the story on a cluster that is ready."""

    def __init__(
        self, cluster: LocalCluster, narrator: Narrator, expected_deaths: set[str]
    ) -> None:
        self._cluster = cluster
        self._narrator = narrator
        self._expected_deaths = expected_deaths
        self._told: dict[str, object] = {}  # Each task's result, as it was answered.

    async def tell(self) -> None:
        """Submit through every node, kill the leader, submit again, bring it back."""
        for name in self._cluster.places:
            await self._submit_through(name)
        leader = await self._cluster.wait_ready()
        await self._kill(leader)
        survivor = next(name for name in self._cluster.places if name != leader)
        await self._submit_through(survivor)
        await self._bring_back(leader)
        await self._submit_through(leader)

    async def _submit_through(self, name: str) -> None:
        """Submit a task to one node and show the answer."""
        place = self._cluster.places[name]
        text = f"Hello from {name}"
        body = json.dumps({"type": "process", "data": text})
        self._narrator.say("request", f"\n> POST {place.url}/tasks {body}", node=name, body=body)
        started = time.monotonic()
        async with self._cluster.client(name, patience_seconds=FINISH_SECONDS) as client:
            submitted = await client.submit("process", text)
            task = await self._finished(client, submitted.id)
        self._told[task["id"]] = task["result"]
        seconds = time.monotonic() - started
        self._narrator.say(
            "completed",
            f"< task {task['id']}: {task['status']} in {seconds:.2f} s,"
            f" result {json.dumps(task['result'])}",
            node=name,
            task_id=task["id"],
            status=task["status"],
            result=task["result"],
            seconds=round(seconds, 3),
        )

    @staticmethod
    async def _finished(client: Client, task_id: str) -> Object:
        async def completed() -> Object | None:
            task = await client.task(task_id, wait=1)
            return task if task["status"] == "completed" else None

        return await wait_until(
            completed, what=f"task {task_id} to be completed", timeout_seconds=FINISH_SECONDS
        )

    async def _kill(self, leader: str) -> None:
        pid = self._cluster.children[leader].pid
        self._narrator.say(
            "killing", f"\n{leader} leads (process {pid}): killing it with SIGKILL.", node=leader
        )
        self._expected_deaths.add(leader)
        await self._cluster.kill(leader)

    async def _bring_back(self, name: str) -> None:
        self._narrator.say("restarting", f"\nStarting {name} again.", node=name)
        started = time.monotonic()
        await self._cluster.start_node(name)
        self._expected_deaths.discard(name)
        leader = await self._cluster.wait_ready()
        seconds = time.monotonic() - started
        async with self._cluster.client(name, patience_seconds=FINISH_SECONDS) as client:
            kept = await shown(client, self._told)
        self._narrator.say(
            "restarted",
            f"{name} is back after {seconds:.1f} s and follows {leader}; asked for the"
            f" {len(self._told)} tasks so far, it shows {kept} with the results that were told.",
            node=name,
            leader=leader,
            seconds=round(seconds, 3),
            told=len(self._told),
            kept=kept,
        )


async def shown(client: Client, told: Mapping[str, object]) -> int:
    """How many of the tasks that were *told* of, by id, it shows with the same result."""
    count = 0
    for task_id, result in told.items():
        with contextlib.suppress(TaskUnknown):
            count += (await client.task(task_id))["result"] == result
    return count


def curl_commands(url: str) -> str:
    """The commands to try next, as a reader can paste them."""
    return f"""
Try it, on any of the ports:

  curl -X POST {url}/tasks \\
    -H "Content-Type: application/json" \\
    -d '{{"type": "process", "data": "Hello World"}}'

  curl {url}/health
  curl {url}/tasks
  curl {url}/tasks/{{TASK_ID}}
  curl {url}/workers
"""
