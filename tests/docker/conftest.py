"""One cluster of containers for all tests here; each leaves it whole.

They run where QUORATE_TEST_DOCKER=1 or CI says so, and fail there if no engine answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from chaos.history import Recorder, Row, Type
from chaos.lookout import Lookout, Views
from chaos.recording import Process, RecordingClient
from chaos.setting import Setting
from chaos.targets.docker import DockerTarget
from gateway.client import Client
from gateway.ids import new_id
from node.waiting import wait_until

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
IS_WANTED = IN_CI or os.environ.get("QUORATE_TEST_DOCKER") == "1"
HTTP_PORT = int(os.environ.get("QUORATE_TEST_DOCKER_PORT", "5300"))
WHOLE_SECONDS = 90.0


@pytest.fixture(scope="session", autouse=True)
def wanted() -> None:
    """Skip all of it, out loud, unless it is asked for."""
    if not IS_WANTED:
        pytest.skip("QUORATE_TEST_DOCKER=1 runs these, on Docker's engine")


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where journals are kept: among the tests' own files."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("state")
        patch.setenv("QUORATE_CHAOS_STATE", str(directory))
        yield directory


class Cluster:
    """What the tests look through and write through."""

    def __init__(
        self, target: DockerTarget, lookout: Lookout, session: aiohttp.ClientSession
    ) -> None:
        self.target = target
        self.lookout = lookout
        self.session = session
        self.recorder = Recorder()
        self.client = RecordingClient(self.recorder, target.urls, session)

    async def submit(self, node: str, **task: Any) -> Row:
        """One task through that node, once; `noop` unless *task* says otherwise."""
        asked = {"id": new_id(), "type": "noop", "data": None} | task
        return await self.client.ask(Process(f"at-{node}"), "submit", asked, node=node)

    async def status(self, node: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """What the node answers: the status, and the code of a problem or the whole body."""
        url = self.target.urls[node] + path
        async with self.session.request(method, url, **options) as answer:
            body = await answer.json()
            return answer.status, body.get("code", body)

    async def result(self, task_id: str, *, timeout_seconds: float = 60.0) -> Any:
        """Wait until the task is completed, whoever of the nodes tells so; its result."""
        urls = tuple(self.target.urls.values())
        async with Client(urls, patience_seconds=timeout_seconds) as client:

            async def completed() -> dict[str, Any] | None:
                task = await client.task(task_id)
                return task if task["status"] == "completed" else None

            what = f"task {task_id} to be completed"
            task = await wait_until(completed, what=what, timeout_seconds=timeout_seconds)
        return task["result"]

    @contextlib.asynccontextmanager
    async def writers(self, nodes: Sequence[str], *, each: int = 2) -> AsyncIterator[None]:
        """Clients that write through these nodes for as long as the context lasts, recorded."""
        is_over = asyncio.Event()

        async def write(node: str) -> None:
            while not is_over.is_set():
                if (await self.submit(node)).type is not Type.OK:
                    await asyncio.sleep(0.05)  # A refusal comes at once: no busy loop.

        running = [asyncio.create_task(write(node)) for node in nodes for _ in range(each)]
        try:
            yield
        finally:
            is_over.set()
            await asyncio.gather(*running)

    async def lost(self, rows: Sequence[Row]) -> list[str]:
        """The tasks of acknowledged submissions that a node does not know; nodes take turns."""
        tasks = [row.value["id"] for row in rows if row.f == "submit" and row.type is Type.OK]
        assert tasks, "nothing was acknowledged"
        at_once = asyncio.Semaphore(16)

        async def is_known(number: int, task_id: str) -> bool:
            node = self.target.nodes[number % len(self.target.nodes)]
            async with at_once:
                status, _body = await self.status(node, "GET", f"/tasks/{task_id}")
            return status == 200

        known = await asyncio.gather(*(is_known(*each) for each in enumerate(tasks)))
        return [task_id for task_id, is_there in zip(tasks, known, strict=True) if not is_there]

    async def whole(self) -> None:
        """Wait until every node serves, all follow one leader, and their states are equal."""
        await self.lookout.until(
            "every node has the same state under one leader",
            is_whole,
            timeout_seconds=WHOLE_SECONDS,
        )


def is_whole(views: Views) -> bool:
    """Whether all that was seen last agrees, to the byte."""
    sights = list(views.values())
    states = {(s.term, s.applied_index, s.state_hash) if s else None for s in sights}
    roles = sorted(sight.role for sight in sights if sight)
    return len(states) == 1 and None not in states and roles.count("leader") == 1


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def shared_cluster() -> AsyncIterator[Cluster]:
    target = DockerTarget(Setting(workers=3), http_port=HTTP_PORT)
    try:
        await target.start()
        async with (
            Lookout(target.urls, time.monotonic) as lookout,
            aiohttp.ClientSession() as session,
        ):
            yield Cluster(target, lookout, session)
    finally:
        await target.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(shared_cluster: Cluster) -> AsyncIterator[Cluster]:
    """The cluster, whole before the test and made whole after it."""
    await shared_cluster.whole()
    try:
        yield shared_cluster
    finally:
        target = shared_cluster.target
        await target.mend()
        for node in target.nodes:
            if target.is_disconnected(node):
                await target.reconnect(node)
        for name in (*target.nodes, *target.workers):
            if target.is_stopped(name):
                await target.thaw(name)
        await target.revive_all()
