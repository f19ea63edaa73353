"""What a lab may do to its cluster: each deed a context, or done, with its undo and its bite.

Builds on `scene.py`. A deed that cannot show that it bit leaves its run inconclusive.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from chaos.checkers.evidence import Fault
from chaos.recording import RecordingClient
from chaos.relay import Direction, Relay
from chaos.scene import Scene
from chaos.targets.contract import Kind, Unsupported, Way
from cluster.errors import QuorateError


class NotInjected(QuorateError):
    """What was to go wrong did not; all is as before. The message says why."""


class Injecting(Scene):
    """A scene in which things go wrong."""

    @asynccontextmanager
    async def cut(self, name: str, target: str, ways: Iterable[Way]) -> AsyncIterator[None]:
        """Have these ways cut for as long as the context lasts."""
        async with self.impaired(name, target, self.target.cut(ways)):
            yield

    @asynccontextmanager
    async def broken_off(self, name: str, target: str, ways: Iterable[Way]) -> AsyncIterator[None]:
        """Have connections these ways reset, and new ones refused: a cut that everyone notices."""
        async with self.impaired(name, target, self.target.reset(ways)):
            yield

    @asynccontextmanager
    async def slowed(
        self, name: str, target: str, ways: Iterable[Way], *, delay_seconds: float
    ) -> AsyncIterator[None]:
        """Have what is sent these ways arrive so much later."""
        async with self.impaired(name, target, self.target.slow(ways, delay_seconds)):
            yield

    @asynccontextmanager
    async def impaired(
        self, name: str, target: str, impairing: Coroutine[Any, Any, None]
    ) -> AsyncIterator[None]:
        """Have ways be worse, as *impairing* makes them, for as long as the context lasts.

        One such at a time: to mend one is to mend all.
        """

        async def sign() -> int:
            return await self.target.held_back()

        async with self._fault(
            name, target, impairing, sign, self.target.mend, counted="held back"
        ):
            yield

    @asynccontextmanager
    async def unplugged(self, node: str, *, changed_address: bool = False) -> AsyncIterator[None]:
        """Have a node's cable out; it may come back at another address."""

        async def sign() -> int:
            return int(self.target.is_disconnected(node))

        async def undo() -> None:
            await self.target.reconnect(node, changed_address=changed_address)

        deed = self.target.disconnect(node)
        async with self._fault("unplugged", node, deed, sign, undo, counted="cables out"):
            yield

    @asynccontextmanager
    async def killed(
        self, name: str, *, is_disk_kept: bool = True, called: str = "killed"
    ) -> AsyncIterator[None]:
        """Have a process dead for as long as the context lasts; it may come back with no disk."""

        async def undo() -> None:
            if not is_disk_kept:
                await self._put_disk_aside(name)
            await self.target.revive(name)

        deed = self.target.kill(name)
        async with self._fault(
            called, name, deed, self._ended(name), undo, counted="processes ended", said="SIGKILL"
        ):
            yield

    @asynccontextmanager
    async def all_killed(self) -> AsyncIterator[None]:
        """Have every process dead, all at once, for as long as the context lasts."""
        everyone = (*self.target.nodes, *self.target.workers)
        async with self._fault(
            "all killed",
            "everyone",
            self.target.kill_all(),
            self._ended(*everyone),
            self.target.revive_all,
            counted="processes ended",
            said="SIGKILL, all at once",
        ):
            yield

    @asynccontextmanager
    async def frozen(self, name: str, *, called: str = "frozen") -> AsyncIterator[None]:
        """Have a process stopped where it stands for as long as the context lasts."""

        async def sign() -> int:
            return int(self.target.is_stopped(name))

        async def undo() -> None:
            await self.target.thaw(name)

        deed = self.target.freeze(name)
        async with self._fault(
            called, name, deed, sign, undo, counted="processes stopped", said="SIGSTOP"
        ):
            yield

    @asynccontextmanager
    async def damaged(self, node: str, kind: Kind) -> AsyncIterator[str]:
        """Have a node dead with one bit of its disk flipped; says which.

        Whatever the node made of it, afterwards its disk is put aside, as a node that finds the
        damage asks for, and it comes back with an empty one.
        """
        place = ""

        async def damage() -> None:
            nonlocal place
            await self.target.kill(node)
            place = await self.target.flip_bit(node, kind)
            self.say(f"one bit of its {kind} is flipped: {place}")

        async def sign() -> int:
            return int(bool(place))

        async def undo() -> None:
            # It may be one that ends and is started again, and again.
            await self.target.kill(node)
            if place:
                await self._put_disk_aside(node)
            await self.target.revive(node)

        name = f"bit flipped in the {kind}"
        async with self._fault(
            name, node, damage(), sign, undo, counted="bits flipped", said="SIGKILL"
        ):
            yield place

    @asynccontextmanager
    async def replies_lost(self, node: str) -> AsyncIterator[tuple[RecordingClient, Relay]]:
        """A way to *node*'s gateway on which requests arrive and no answer comes back.

        Gives a client that goes that way, and the relay: its `reset` breaks the connections, and
        the answers that it holds are lost for good. When the context ends the way is well.
        """
        injected = self.now()
        relay = await Relay.start(urlsplit(self.target.urls[node]).netloc)
        self._stack.push_async_callback(relay.stop)
        relay.drop(Direction.FROM_TARGET)
        self.say(f"what {node} answers the client is lost on the way")
        try:
            yield self.client_of({node: f"http://{relay.address}"}), relay
        finally:
            lost = relay.bytes_taken(Direction.FROM_TARGET) - relay.bytes_given(
                Direction.FROM_TARGET
            )
            await relay.heal()
            self._note("replies lost", node, injected, {"bytes of answers": lost})

    async def restart(self, name: str, *, called: str = "restarted") -> None:
        """SIGTERM, the end of what is in hand, and a new start; returns while it is starting."""
        injected, before = self.now(), self.target.start_of(name)
        self.say(f"SIGTERM: {name}")
        await self.target.restart(name)
        bites = {"processes replaced": int(self.target.start_of(name) != before)}
        self._note(called, name, injected, bites)

    @asynccontextmanager
    async def _fault(
        self,
        name: str,
        target: str,
        deed: Coroutine[Any, Any, None],
        sign: Callable[[], Coroutine[Any, Any, int]],
        undo: Callable[[], Coroutine[Any, Any, None]],
        *,
        counted: str,
        said: str = "",
    ) -> AsyncIterator[None]:
        """Do *deed*; when the context ends, count by *sign* how it bit, and *undo* it.

        It is undone whatever happens: also what was done by halves, and also where no sign can be
        had of it. Every undo may be done to what is well.
        """
        injected = self.now()
        self.say(f"{said or name}: {target}")
        try:
            await deed
        except BaseException as error:
            await undo()  # It was no fault, but may have been half of one.
            if isinstance(error, QuorateError) and not isinstance(error, Unsupported):
                raise NotInjected(f"{name} of {target}: {error}") from error
            raise
        bites: Mapping[str, int] = {}
        try:
            try:
                yield
            finally:
                bites = {counted: await sign()}
        finally:
            await undo()
            self._note(name, target, injected, bites)

    def _ended(self, *names: str) -> Callable[[], Coroutine[Any, Any, int]]:
        """A sign: how many have ended, if all have."""

        async def count() -> int:
            ended = sum(map(self.target.has_ended, names))
            return ended if ended == len(names) else 0

        return count

    async def _put_disk_aside(self, node: str) -> None:
        await self.target.put_disk_aside(node)
        self.begun_anew.append((node, self.now()))
        self.say(f"{node} is to begin with an empty disk")

    def _note(self, name: str, target: str, injected: float, bites: Mapping[str, int]) -> None:
        self.healed = self.now()
        self.faults.append(Fault(name, target, injected, self.healed, bites))
        told = ", ".join(f"{what}: {count}" for what, count in bites.items())
        self.say(f"healed: {name} of {target} ({told})")
