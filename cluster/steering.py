"""Changing the cluster itself: members in and out, one at a time, and who leads.

Any node may be asked; the leader does it. A new member catches up before it votes, so that it
never stands in the way of a majority (Ongaro's dissertation, §4.2.1); a leader that is to be
removed hands leadership over first (§4.2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from cluster.errors import (
    ChangeRefused,
    MemberUnknown,
    NoQuorum,
    OutcomeUnknown,
    QuorateError,
    WireError,
)
from cluster.raft.driver import Driver
from cluster.raft.membership import Configuration, Member
from cluster.raft.transport import split_address

CATCH_UP_SECONDS = 60.0
HAND_OVER_SECONDS = 2.0

# How a leader tells another node what it raised.
_KINDS: Mapping[str, type[QuorateError]] = {
    "unknown_outcome": OutcomeUnknown,
    "unknown_member": MemberUnknown,
    "refused": ChangeRefused,
}


class Steering:
    """Carries out changes on the leader, and brings them to it from any other node."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._is_busy = False
        self._adding: str | None = None  # Who catches up; None also once it is not wanted any more.
        self._requests = 0
        self._asked: dict[int, tuple[str, asyncio.Future[None]]] = {}  # With the leader's id.
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def ask(self, what: str, *arguments: str | None, timeout_seconds: float) -> None:
        """Have the leader do *what*: "add" id address, "remove" id, or "lead" id or None.

        Raises:
            ChangeRefused: it cannot be done now; says why. MemberUnknown: there is none of that id.
            NoQuorum: no leader was reached.
            OutcomeUnknown: it may have been done.
        """
        is_handed = False
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._until(lambda: self._engine.is_serving or self._leader() is not None)
                is_handed = True
                if self._engine.is_serving:
                    await self._do(what, list(arguments))
                else:
                    await self._forward(what, arguments)
        except TimeoutError:
            if not is_handed:
                raise NoQuorum("no leader was reached in time") from None
            raise OutcomeUnknown(f"{what} was not confirmed in time") from None

    async def hand_over(self, to: str | None) -> None:
        """As the leader, have *to*, or the member that is furthest, lead from now on.

        Raises:
            ChangeRefused: nobody who could lead is linked, or it did not take over in time.
        """
        if not self._engine.hand_over(to):
            raise ChangeRefused(
                f"{to} is not a member that could lead now" if to else "no other member could lead"
            )
        self._driver.wake()
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                await self._until(lambda: not self._engine.is_leader)
        except TimeoutError:
            raise ChangeRefused(f"{to or 'no other member'} did not take over") from None

    def moved(self) -> None:
        """Note that the engine moved: whoever waits for something looks again."""
        self._moved.set()

    def message(self, peer: str, content: list[Any]) -> None:
        """Take what *peer* asks or answers.

        Raises:
            WireError: it makes no sense.
        """
        match content:
            case ["steer", int(request), str(what), list(arguments)]:
                self._run(self._answer(peer, request, what, arguments))
            case ["steered", int(request), "done", str()]:
                if (asked := self._asked.get(request)) and not asked[1].done():
                    asked[1].set_result(None)
            case ["steered", int(request), str(kind), str(problem)] if kind in _KINDS:
                if (asked := self._asked.get(request)) and not asked[1].done():
                    asked[1].set_exception(_KINDS[kind](problem))
            case _:
                raise WireError(f"a request to the leader cannot be understood: {content!r:.80}")

    def link_down(self, peer: str) -> None:
        """Whoever *peer* was asked for is told that no answer comes."""
        for leader, future in self._asked.values():
            if leader == peer and not future.done():
                lost = f"the link to {peer}, which leads, broke before it answered"
                future.set_exception(OutcomeUnknown(lost))

    async def stop(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # On the leader.

    async def _do(self, what: str, arguments: list[Any]) -> None:
        match what, arguments:
            case "add", [str(node_id), str(address)]:
                await self._alone(self._add(node_id, address))
            case "remove", [str(node_id)]:
                await self._remove(node_id)
            case "lead", [(str() | None) as node_id]:
                await self._lead(node_id)
            case _:
                raise WireError(f"nothing is called {what!r:.40} with {len(arguments)} arguments")

    async def _add(self, node_id: str, address: str) -> None:
        engine = self._engine
        await self._until_sure()
        for member in engine.configuration.members:
            if (member.id, member.raft) == (node_id, address):
                return  # An earlier copy of this request did it.
            if node_id == member.id:
                raise ChangeRefused(f"{node_id} is a member already, at {member.raft}")
            if address == member.raft:
                raise ChangeRefused(f"{address} is the address of {member.id} already")
        _check_address(address)
        self._driver.learn(node_id, address)
        self._adding = node_id
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._until(
                    lambda: (
                        self._adding is None
                        or not engine.is_serving
                        or engine.has_caught_up(node_id)
                    )
                )
            if self._adding is None:
                raise ChangeRefused(f"{node_id} was removed before it had caught up")
        except TimeoutError:
            raise ChangeRefused(
                f"{node_id} at {address} did not catch up within {CATCH_UP_SECONDS:.0f} s: "
                "is it running, with this cluster's members in --cluster?"
            ) from None
        finally:
            self._adding = None
            self._driver.unlearn(node_id)
        incarnation = engine.incarnation_of(node_id) or ""
        member = Member(node_id, address, incarnation)
        await self._change(lambda now: now.with_member(member))

    async def _remove(self, node_id: str) -> None:
        engine = self._engine
        await self._until_sure()
        if node_id == self._adding:
            self._adding = None
            self.moved()
            return
        if engine.configuration.member(node_id) is None:
            raise MemberUnknown(f"{node_id} is not a member")
        if len(engine.configuration.members) == 1:
            raise ChangeRefused(f"{node_id} is the only member")
        if node_id == engine.node_id:
            await self.hand_over(None)
            await self._until(lambda: self._leader() is not None)
            await self._forward("remove", (node_id,))
            return
        await self._alone(self._change(lambda now: now.without(node_id)))

    async def _lead(self, node_id: str | None) -> None:
        engine = self._engine
        if node_id == engine.node_id:
            return
        if node_id is not None and engine.configuration.member(node_id) is None:
            raise MemberUnknown(f"{node_id} is not a member")
        await self.hand_over(node_id)

    async def _alone(self, change: Coroutine[Any, Any, None]) -> None:
        """One change at a time (D3); what the leader does by itself is waited for."""
        if self._is_busy:
            change.close()
            raise ChangeRefused("another change of members is under way; wait for it")
        self._is_busy = True
        try:
            await change
        finally:
            self._is_busy = False

    async def _until_sure(self) -> None:
        """Wait until the members that this leader goes by are committed: a change may be undone.

        Raises:
            ChangeRefused: it no longer leads.
        """
        engine = self._engine
        await self._until(lambda: not engine.is_changing or not engine.is_serving)
        if not engine.is_serving:
            raise ChangeRefused("this node no longer leads; ask again")

    async def _change(self, changed: Callable[[Configuration], Configuration]) -> None:
        engine = self._engine
        await self._until_sure()
        index, term = engine.change(changed(engine.configuration))
        self._driver.wake()
        await self._until(lambda: engine.certain_index >= index or engine.term != term)
        if engine.log.term_at(index) != term or engine.certain_index < index:
            raise OutcomeUnknown("leadership changed before the change was committed")

    # Between nodes.

    def _leader(self) -> str | None:
        """Another node that leads and is linked."""
        leader = self._engine.leader
        return leader if leader in self._driver.mesh.links else None

    async def _forward(self, what: str, arguments: tuple[str | None, ...]) -> None:
        leader = self._leader()
        if leader is None:
            raise NoQuorum("no leader is reachable")
        self._requests += 1
        request = self._requests
        future: asyncio.Future[None] = self._loop.create_future()
        self._asked[request] = (leader, future)
        self._driver.tell(leader, ["steer", request, what, list(arguments)])
        try:
            await future
        finally:
            del self._asked[request]

    async def _answer(self, peer: str, request: int, what: str, arguments: list[Any]) -> None:
        problem: QuorateError | None = None
        engine = self._engine
        try:
            await self._until(lambda: engine.is_serving or not engine.is_leader)
            if not engine.is_serving:
                raise ChangeRefused("the node that was asked does not lead; ask again")
            await self._do(what, arguments)
        except QuorateError as error:
            problem = error
        told = ["done", ""] if problem is None else [_kind_of(problem), str(problem)]
        self._driver.tell(peer, ["steered", request, *told])

    async def _until(self, holds: Callable[[], object]) -> None:
        while not holds():
            self._moved.clear()
            await self._moved.wait()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))


def _check_address(address: str) -> None:
    """See that *address* could be one: nobody should wait a minute to be told of a slip.

    Raises:
        ChangeRefused: it could not.
    """
    try:
        host, port = split_address(address)
    except ValueError:
        host, port = "", 0
    if not host or not 0 < port < 65_536:
        raise ChangeRefused(f"{address!r:.100} is no host:port to reach a node at")


def _kind_of(error: QuorateError) -> str:
    return next((kind for kind, type_ in _KINDS.items() if isinstance(error, type_)), "refused")
