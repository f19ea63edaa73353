"""What was asked and what was answered; and, at the end, whether the cluster kept its word.

Drives a load of submissions, completions and reads through every node, and notes of each whether
it was acknowledged, certainly refused, or may have happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator

from cluster.core.commands import Complete, Offer, Register, Submit
from cluster.core.model import NewTask
from tests.crash.nodes import Gone, Nodes, Object

CLIENTS = 8
WORKERS = 2
LEASES = 8
_LEADS = re.compile(r" (\w+) leads term (\d+)$")


class BrokenWord(AssertionError):
    """The cluster lost, doubled or contradicted what it had acknowledged."""


class Ledger:
    """One cluster's history."""

    def __init__(self, nodes: Nodes, *, seed: int) -> None:
        self.nodes = nodes
        self.random = random.Random(seed)
        self.attempted: dict[str, None] = {}
        self.acknowledged: dict[str, None] = {}
        self.refused: set[str] = set()
        self.results: dict[str, str] = {}  # Of the completions that were acknowledged.
        self.hashes: dict[int, str] = {}
        self.fates: Counter[str] = Counter()
        self._progress = asyncio.Event()

    # The load.

    async def submit(self, *, name: str | None = None, delay_ms: int = 0) -> str:
        """Submit one task through one node, any by default; returns its fate."""
        task_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        payload = bytes(self.random.randrange(20, 1_500))
        task = NewTask.of(task_id, "echo", payload, "application/json", delay_ms=delay_ms)
        command = Submit((task,))
        self.attempted[task_id] = None
        name = name or self._any_node()
        if name is None:
            self.refused.add(task_id)  # Nobody was asked.
            await self._pause()
            return "refused"
        answer = await self.nodes.propose(name, command)
        if answer["fate"] == "unknown" and self.random.random() < 0.5:
            # The same id, elsewhere: whatever became of the first try, it is one task.
            self._note(answer["fate"])
            other = self._any_node()
            if other is not None:
                again = await self.nodes.propose(other, command)
                answer = again if again["fate"] == "done" else answer
        if answer["fate"] == "done":
            self.acknowledged[task_id] = None
            await self._read_back(task_id, answer["index"])
        elif answer["fate"] == "refused":
            self.refused.add(task_id)
        self._note(answer["fate"])
        return str(answer["fate"])

    async def submit_many(self, count: int, *, name: str | None = None) -> None:
        """Have *count* submissions acknowledged, some at a time."""
        until = len(self.acknowledged) + count

        async def client() -> None:
            while len(self.acknowledged) < until:
                await self.submit(name=name)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())

    async def load(self) -> None:
        """Submit, complete and read through any node, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._submit_on())
            for number in range(WORKERS):
                group.create_task(self._work_on(number))

    @contextlib.asynccontextmanager
    async def under_load(self) -> AsyncIterator[None]:
        """Keep the load up as long as the context lasts; a word it finds broken ends both."""
        async with asyncio.TaskGroup() as group:
            load = group.create_task(self.load())
            yield
            load.cancel()

    async def acknowledgements(self, count: int, *, seconds: float = 30.0) -> None:
        """Wait until *count* more tasks or completions are acknowledged."""

        def so_far() -> int:
            return self.fates["done"] + self.fates["completed"]

        until = so_far() + count
        async with asyncio.timeout(seconds):
            while so_far() < until:
                await self._progress.wait()

    async def _submit_on(self) -> None:
        while True:
            await self.submit()

    async def _work_on(self, number: int) -> None:
        worker_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        session = Register(worker_id, f"worker{number}", ("default",), (), (), 100, "node1")
        await self._insist(session)
        for epoch in range(1, 1_000_000):
            answer = await self._insist(Offer(worker_id, epoch, LEASES, is_standing=False))
            kind, leases = answer["reply"][0], answer["reply"][1]
            if kind != "Offered":
                raise BrokenWord(f"{worker_id} was refused its offer: {answer}")
            for lease in leases:
                await self._complete(lease)
            if not leases:
                await self._pause()

    async def _complete(self, lease: list[object]) -> None:
        task_id, token = str(lease[0]), int(str(lease[1]))
        result = f"{task_id} under {token}"
        answer = await self._insist(Complete(task_id, token, result.encode()))
        if answer["reply"][0] != "Settled":
            raise BrokenWord(f"a completion of {task_id} under {token} was refused: {answer}")
        self.results[task_id] = result
        self._note("completed")

    async def _insist(self, command: Register | Offer | Complete) -> Object:
        """Repeat a command that may be repeated until it is done."""
        while True:
            name = self._any_node()
            if name is not None:
                answer = await self.nodes.propose(name, command)
                if answer["fate"] == "done":
                    return answer
            await self._pause()

    async def _read_back(self, task_id: str, index: int) -> None:
        """A read through any other node, begun after the answer, must show the task."""
        name = self._any_node()
        if name is None or self.random.random() > 0.2:
            return
        try:
            answer = await self.nodes[name].ask("tasks", ids=[task_id])
        except Gone:
            return
        if answer["fate"] != "done":
            return
        if answer["tasks"] == [None] or answer["index"] < index:
            raise BrokenWord(f"{name} does not know {task_id}, acknowledged at {index}: {answer}")

    async def _pause(self) -> None:
        """Give the others a turn, where there is nothing to do but try again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self._progress.wait()

    def _any_node(self) -> str | None:
        running = self.nodes.running
        return self.random.choice(running).name if running else None

    def _note(self, fate: str) -> None:
        self.fates[fate] += 1
        self._progress.set()  # Wakes whoever waits now, and nobody later.
        self._progress.clear()

    # The reckoning.

    async def settle(self) -> None:
        """With every node up and no load: hold the whole cluster to everything it said."""
        await self.serves_everywhere()
        statuses = await self.nodes.all_level()
        self.note_hashes(statuses)
        hashes = {status["state_hash"] for status in statuses}
        if len(hashes) != 1:
            raise BrokenWord(f"the nodes differ at index {statuses[0]['applied_index']}: {hashes}")
        for name in self.nodes.names:
            await self._hold_to_its_word(name)
        self._hold_terms()

    async def serves_everywhere(self, *, seconds: float = 20.0) -> None:
        """Wait until a write succeeds through every running node; the next ones must at once."""
        for process in self.nodes.running:

            async def succeeds(name: str = process.name) -> bool:
                return await self.submit(name=name) == "done"

            await self.nodes.until(succeeds, f"{process.name} to serve", seconds=seconds)

    def note_hashes(self, statuses: list[Object]) -> None:
        """Compare with every state ever seen at the same index, on whatever node."""
        for status in statuses:
            index, state_hash = status["applied_index"], status["state_hash"]
            if self.hashes.setdefault(index, state_hash) != state_hash:
                raise BrokenWord(f"{status['node_id']} has another state at index {index}")

    async def _hold_to_its_word(self, name: str) -> None:
        ids = list(self.attempted)
        answer = await self.nodes[name].ask("tasks", ids=ids)
        assert answer["fate"] == "done", answer
        tasks = dict(zip(ids, answer["tasks"], strict=True))
        present = {task_id for task_id, task in tasks.items() if task is not None}

        lost = self.acknowledged.keys() - present
        if lost:
            raise BrokenWord(f"{name} lost {len(lost)} acknowledged tasks, {min(lost)} among them")
        undead = self.refused & present
        if undead:
            raise BrokenWord(f"{name} has tasks that it certainly refused: {undead}")
        if answer["total"] != len(present):
            raise BrokenWord(f"{name} has {answer['total']} tasks; {len(present)} were submitted")
        completed = {task_id: task[1] for task_id, task in tasks.items() if task and task[1]}
        for task_id, result in self.results.items():
            if completed.get(task_id) != result:
                raise BrokenWord(f"{name} lost the completion of {task_id}: {tasks[task_id]}")
        if answer["completed_ever"] != len(completed):
            raise BrokenWord(
                f"{name} took {answer['completed_ever']} completions of {len(completed)} tasks"
            )

    def _hold_terms(self) -> None:
        leaders: dict[int, str] = {}
        for _, line in self.nodes.log:
            if (match := _LEADS.search(line)) is not None:
                name, term = match[1], int(match[2])
                if leaders.setdefault(term, name) != name:
                    raise BrokenWord(f"{name} and {leaders[term]} both led term {term}")

    def summary(self) -> str:
        """What the history amounts to, for a person."""
        return (
            f"{len(self.acknowledged)} tasks acknowledged, {len(self.results)} completed, "
            f"{self.fates['unknown']} unknown, {self.fates['refused']} refused; "
            f"{len(self.hashes)} states compared"
        )
