"""The simulated network: streams are in order, a cut holds, a death loses the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaos.simulation.dice import dice
from chaos.simulation.loop import SimulatedLoop
from chaos.simulation.network import Link, Network
from chaos.simulation.world import World

PORT = 7000


class Peer(asyncio.Protocol):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received = b""
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Pair:
    """Two machines with one connection."""

    def __init__(self, *, split: float = 0.0) -> None:
        self.world = World()
        self.network = Network(self.world, dice(1, "network"), Link((0.001, 0.02), split=split))
        self.here = SimulatedLoop(self.world, "here", sockets=self.network)
        self.there = SimulatedLoop(self.world, "there", sockets=self.network)
        self.near, self.far = Peer(), Peer()
        self.error: Exception | None = None
        self.network.listen(self.there, lambda: self.far, PORT)
        self.here.start(self.dial())
        self.world.run(1)

    async def dial(self) -> None:
        try:
            await self.here.create_connection(lambda: self.near, "there", PORT)
        except OSError as error:
            self.error = error


@pytest.mark.parametrize("split", [0.0, 0.7])
def test_bytes_arrive_whole_and_in_order(split: float) -> None:
    pair = Pair(split=split)
    sent = [b"%d," % number for number in range(200)]

    for piece in sent:
        pair.near.transport.write(piece)
    pair.world.run(5)

    assert pair.far.received == b"".join(sent)


def test_a_cut_holds_what_was_sent_and_a_heal_lets_it_go() -> None:
    pair = Pair()
    pair.network.cut([("here", "there")])
    pair.near.transport.write(b"held")
    pair.world.run(5)
    assert pair.far.received == b""

    pair.network.heal([("here", "there")])
    pair.near.transport.write(b" and later")
    pair.world.run(10)

    assert pair.far.received == b"held and later"


def test_a_cut_in_one_direction_leaves_the_other() -> None:
    pair = Pair()
    pair.network.cut([("here", "there")])

    pair.far.transport.write(b"still heard")
    pair.world.run(5)

    assert pair.near.received == b"still heard"


def test_a_killed_process_is_seen_as_a_reset() -> None:
    pair = Pair()
    pair.there.kill()
    pair.network.process_died(pair.there)
    pair.world.run(5)

    assert isinstance(pair.near.lost[0], ConnectionResetError)


def test_what_arrives_of_a_broken_connection_is_a_beginning() -> None:
    pair = Pair()
    for number in range(100):
        pair.near.transport.write(b"%02d" % number)
    pair.world.run(pair.world.now + 0.01)
    pair.network.reset("here", "there")
    pair.world.run(5)

    whole = b"".join(b"%02d" % number for number in range(100))
    assert whole.startswith(pair.far.received)


def test_a_machine_without_power_says_nothing_until_it_is_back() -> None:
    pair = Pair()
    pair.there.kill()
    pair.network.power_lost("there")
    pair.near.transport.write(b"into nothing")
    pair.world.run(5)
    assert pair.near.lost == []

    pair.network.power_restored("there")
    pair.world.run(10)

    assert len(pair.near.lost) == 1


def test_nobody_listening_refuses_the_connection() -> None:
    pair = Pair()
    pair.there.kill()

    pair.here.start(pair.dial())
    pair.world.run(5)

    assert isinstance(pair.error, ConnectionRefusedError)


def test_an_orderly_end_comes_after_what_was_written() -> None:
    pair = Pair()
    pair.near.transport.write(b"last words")
    pair.near.transport.close()
    pair.world.run(5)

    assert (pair.far.received, pair.far.lost) == (b"last words", [None])
