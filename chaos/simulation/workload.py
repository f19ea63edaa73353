"""Clients: processes of their own that submit and read through any node, and write it down.

They behave as real ones do: what may have happened is repeated with the same id, on another node.
Workers and stewards (`working.py`, `stewarding.py`) are clients, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from chaos.simulation.calling import Caller, NotServed
from chaos.simulation.dice import Dice
from chaos.simulation.history import Attempt, History, Kind, Outcome
from chaos.simulation.network import Network
from chaos.simulation.node import Operation, SimulatedNode
from chaos.simulation.world import World
from cluster.answers import Consistency
from cluster.core.commands import Command, Complete, Fail, Register, Submit
from cluster.core.model import Backoff, Extras, Idempotency, NewTask, Policy
from cluster.core.queries import Count, GetTask, Query
from cluster.errors import NotCaughtUp, NotCommitted
from cluster.replica import Replica

REPEATS_MAX = 6
QUEUES = ("default", "mail")
KEYED = 0.3  # How many tasks have an idempotency key.


class Client(Caller):
    """One process: it asks nodes, and knows how new what it has seen was."""

    def __init__(
        self,
        world: World,
        network: Network,
        name: str,
        nodes: Sequence[SimulatedNode],
        dice: Dice,
        history: History,
    ) -> None:
        super().__init__(world, network, name, nodes, dice)
        self.history = history
        self.seen_index = 0
        self._tags = 0

    # Requests.

    async def write(
        self, make: Callable[[str], Command[Any]], *, node: SimulatedNode | None = None
    ) -> Attempt:
        """Propose what *make* makes of a tag of its own, once."""
        self._tags += 1
        tag = f"{self.name}/{self._tags}"
        command = make(tag)
        node = node or self.pick()
        attempt = self._begin(node, Kind.WRITE, command, tag)
        return await self._carry_out(attempt, node, lambda replica: replica.propose(command))

    async def write_until_known(
        self, make: Callable[[str], Command[Any]], *, node: SimulatedNode | None = None
    ) -> Attempt:
        """Propose until it is known to have happened, or patience ends; each time a new tag.

        It is asked of *node* first, if one is given, then of any.
        """
        for _ in range(REPEATS_MAX):
            attempt = await self.write(make, node=node)
            node = None
            if attempt.outcome is Outcome.OK:
                break
            await self.rest(0.2)
        return attempt

    async def read(self, query: Query[Any], *, kind: Kind = Kind.READ) -> Attempt:
        """Ask any node."""
        min_index = self.seen_index if kind is Kind.STALE else 0
        node = self.pick()
        attempt = self._begin(node, kind, query, "")
        attempt.min_index = min_index
        consistency = Consistency.LINEARIZABLE if kind is Kind.READ else Consistency.STALE

        async def operation(replica: Replica) -> Any:
            return await replica.read(query, consistency=consistency, min_index=min_index)

        return await self._carry_out(attempt, node, operation)

    def _begin(self, node: SimulatedNode, kind: Kind, asked: Any, tag: str) -> Attempt:
        attempt = Attempt(self.name, kind, node.name, asked, tag, self.world.now)
        self.history.attempts.append(attempt)
        return attempt

    async def _carry_out(
        self, attempt: Attempt, node: SimulatedNode, operation: Operation
    ) -> Attempt:
        try:
            value = await self.ask(node, operation)
        except (NotCommitted, NotCaughtUp, NotServed):
            attempt.outcome = Outcome.FAIL
        except Exception:  # noqa: BLE001 - whatever else it was, it may have happened.
            attempt.outcome = Outcome.INFO
        else:
            attempt.outcome = Outcome.OK
            attempt.index, attempt.term = value.index, value.term
            attempt.value = value.reply if attempt.kind is Kind.WRITE else value.value
            self.seen_index = max(self.seen_index, value.index)
        attempt.returned = self.world.now
        self.world.record(attempt.outcome.encode(), b"%d" % attempt.index)
        return attempt


class Submitter(Client):
    """Submits tasks, several at a time if it may, and sometimes asks what became of them."""

    pause_seconds = 0.1
    burst = 1
    payload_bytes = 16
    _tasks = 0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._keys: list[Idempotency] = []  # Those that it has used, once or more.

    async def run(self) -> None:
        while True:
            await self.rest(self.pause_seconds)
            count = self.dice.randint(1, self.burst)
            await asyncio.gather(*[self._submit() for _ in range(count)])

    async def _submit(self) -> None:
        tasks = tuple(self._new_task() for _ in range(self.dice.choice((1, 1, 1, 5))))
        await self.write_until_known(
            lambda tag: Submit(
                tuple(task._replace(extras=Extras(submitted_by=tag)) for task in tasks)
            )
        )
        if self.dice.random() < 0.1:
            await self.read(GetTask(tasks[0].id), kind=self.dice.choice((Kind.READ, Kind.STALE)))

    def _new_task(self) -> NewTask:
        self._tasks += 1
        roll = self.dice
        return NewTask.of(
            f"{self.name}-{self._tasks}",
            roll.choice(("echo", "sum")),
            roll.randbytes(roll.randint(0, self.payload_bytes)),
            "application/octet-stream",
            queue=roll.choice(QUEUES),
            priority=roll.randint(0, 9),
            delay_ms=roll.choice((0, 0, 0, 500, 3_000)),
            policy=Policy(
                max_attempts=roll.choice((1, 3)),
                backoff=Backoff(initial_ms=200),
                timeout_ms=roll.choice((None, 2_000)),
                ttl_ms=roll.choice((None, None, 4_000)),
            ),
            idempotency=self._new_key() if roll.random() < KEYED else None,
        )

    def _new_key(self) -> Idempotency:
        """A key of its own; or one that it has used, sometimes by mistake for another body."""
        roll = self.dice
        if self._keys and roll.random() < 0.4:
            used = roll.choice(self._keys)
            return used._replace(body=b"another") if roll.random() < 0.1 else used
        fresh = Idempotency(f"{self.name}/{self._tasks}", b"body %d" % self._tasks)
        self._keys.append(fresh)
        return fresh


class Reader(Client):
    """Reads what there is, from anywhere."""

    pause_seconds = 0.1

    async def run(self) -> None:
        while True:
            await self.rest(self.pause_seconds)
            await self.read(Count(), kind=self.dice.choice((Kind.READ, Kind.STALE)))


def tag_of(command: Command[Any]) -> str | None:
    """The tag that a client put into *command*."""
    match command:
        case Submit((NewTask(extras=Extras(submitted_by=tag)), *_)):
            return tag
        case Register():
            return command.name
        case Complete():
            return command.result.decode()
        case Fail():
            return command.error
        case _:
            return None
