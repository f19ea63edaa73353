"""What a lab may do to its cluster: each deed a context, or done, with its undo and its bite.

Builds on `scene.py`. A deed that cannot show that it bit leaves its run inconclusive.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from chaos.checkers.evidence import Fault
from chaos.recording import RecordingClient
from chaos.relay import Direction, Relay
from chaos.scene import Scene
from chaos.targets.contract import Kind, Way


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
        injected = self.now()
        self.say(f"{name}: {target}")
        await impairing
        try:
            yield
        finally:
            bites = {"held back": await self.target.held_back()}
            await self.target.mend()
            self._note(name, target, injected, bites)

    @asynccontextmanager
    async def unplugged(self, node: str, *, changed_address: bool = False) -> AsyncIterator[None]:
        """Have a node's cable out; it may come back at another address."""
        injected = self.now()
        self.say(f"unplugged: {node}")
        await self.target.disconnect(node)
        try:
            yield
        finally:
            bites = {"cables out": int(self.target.is_disconnected(node))}
            await self.target.reconnect(node, changed_address=changed_address)
            self._note("unplugged", node, injected, bites)

    @asynccontextmanager
    async def killed(self, name: str, *, is_disk_kept: bool = True) -> AsyncIterator[None]:
        """Have a process dead for as long as the context lasts; it may come back with no disk."""
        injected = self.now()
        self.say(f"SIGKILL: {name}")
        await self.target.kill(name)
        try:
            yield
        finally:
            bites = {"processes ended": int(self.target.has_ended(name))}
            if not is_disk_kept:
                await self._put_disk_aside(name)
            await self.target.revive(name)
            self._note("killed", name, injected, bites)

    @asynccontextmanager
    async def all_killed(self) -> AsyncIterator[None]:
        """Have every process dead, all at once, for as long as the context lasts."""
        everyone = (*self.target.nodes, *self.target.workers)
        injected = self.now()
        self.say(f"SIGKILL, all at once: {', '.join(everyone)}")
        await self.target.kill_all()
        try:
            yield
        finally:
            ended = sum(map(self.target.has_ended, everyone))
            bites = {"processes ended": ended if ended == len(everyone) else 0}
            await self.target.revive_all()
            self._note("all killed", "everyone", injected, bites)

    @asynccontextmanager
    async def frozen(self, name: str) -> AsyncIterator[None]:
        """Have a process stopped where it stands for as long as the context lasts."""
        injected = self.now()
        self.say(f"SIGSTOP: {name}")
        await self.target.freeze(name)
        try:
            yield
        finally:
            bites = {"processes stopped": int(self.target.is_stopped(name))}
            await self.target.thaw(name)
            self._note("frozen", name, injected, bites)

    @asynccontextmanager
    async def damaged(self, node: str, kind: Kind) -> AsyncIterator[str]:
        """Have a node dead with one bit of its disk flipped; says which.

        Whatever the node made of it, afterwards its disk is put aside, as a node that finds the
        damage asks for, and it comes back with an empty one.
        """
        injected = self.now()
        self.say(f"SIGKILL: {node}")
        await self.target.kill(node)
        place = await self.target.flip_bit(node, kind)
        self.say(f"one bit of its {kind} is flipped: {place}")
        try:
            yield place
        finally:
            if not self.target.has_ended(node):
                await self.target.kill(node)
            await self._put_disk_aside(node)
            await self.target.revive(node)
            self._note(
                f"bit flipped in the {kind}", node, injected, {"bits flipped": int(bool(place))}
            )

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

    async def restart(self, name: str) -> None:
        """SIGTERM, the end of what is in hand, and a new start; returns while it is starting."""
        injected, before = self.now(), self.target.start_of(name)
        self.say(f"SIGTERM: {name}")
        await self.target.restart(name)
        bites = {"processes replaced": int(self.target.start_of(name) != before)}
        self._note("restarted", name, injected, bites)

    async def _put_disk_aside(self, node: str) -> None:
        await self.target.put_disk_aside(node)
        self.begun_anew.append((node, self.now()))
        self.say(f"{node} is to begin with an empty disk")

    def _note(self, name: str, target: str, injected: float, bites: Mapping[str, int]) -> None:
        self.healed = self.now()
        self.faults.append(Fault(name, target, injected, self.healed, bites))
        told = ", ".join(f"{what}: {count}" for what, count in bites.items())
        self.say(f"healed: {name} of {target} ({told})")
