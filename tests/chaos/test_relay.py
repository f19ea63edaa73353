"""The relay on real sockets: what passes, what is held, and what each side notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest

from chaos.relay import HOST, Direction, Relay


class Stream(NamedTuple):
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Pair(NamedTuple):
    """Both ends of a connection through the relay."""

    relay: Relay
    client: Stream
    target: Stream


class Target:
    """A server that hands out the connections made to it."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[Stream] = asyncio.Queue()
        self.server: asyncio.Server | None = None
        self.streams: list[Stream] = []

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._take, HOST)
        return f"{HOST}:{self.server.sockets[0].getsockname()[1]}"

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.streams.append(Stream(reader, writer))
        self.accepted.put_nowait(self.streams[-1])


Dial = Callable[[], Awaitable[Stream]]


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    made = Target()
    yield made
    assert made.server is not None
    made.server.close()
    for stream in made.streams:
        stream.writer.transport.abort()


@pytest.fixture
async def relay(target: Target) -> AsyncIterator[Relay]:
    made = await Relay.start(await target.start())
    yield made
    await made.stop()


@pytest.fixture
async def dial(relay: Relay) -> AsyncIterator[Dial]:
    streams: list[Stream] = []

    async def connect() -> Stream:
        host, port = relay.address.split(":")
        streams.append(Stream(*await asyncio.open_connection(host, int(port))))
        return streams[-1]

    yield connect
    for stream in streams:
        stream.writer.transport.abort()


@pytest.fixture
async def pair(relay: Relay, target: Target, dial: Dial) -> Pair:
    client = await dial()
    return Pair(relay, client, await target.accepted.get())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the relay tells nobody; a turn, not a time.
            await asyncio.sleep(0)


async def test_bytes_pass_both_ways(pair: Pair) -> None:
    pair.client.writer.write(b"ping")
    assert await pair.target.reader.readexactly(4) == b"ping"

    pair.target.writer.write(b"pong")
    assert await pair.client.reader.readexactly(4) == b"pong"


async def test_the_end_of_one_side_is_passed_on_and_the_other_may_still_answer(pair: Pair) -> None:
    pair.client.writer.write_eof()
    assert await pair.target.reader.read() == b""

    pair.target.writer.write(b"answer")
    assert await pair.client.reader.readexactly(6) == b"answer"


async def test_dropped_bytes_are_held_until_the_path_is_back(pair: Pair) -> None:
    pair.relay.drop()
    pair.client.writer.write(b"late")
    await until(lambda: pair.relay.bytes_taken(Direction.TO_TARGET) == 4)
    assert pair.relay.bytes_given(Direction.TO_TARGET) == 0

    await pair.relay.heal()

    assert await pair.target.reader.readexactly(4) == b"late"


async def test_one_direction_drops_while_the_other_passes(pair: Pair) -> None:
    pair.relay.drop(Direction.TO_TARGET)
    pair.client.writer.write(b"unheard")
    await until(lambda: pair.relay.bytes_taken(Direction.TO_TARGET) == 7)

    pair.target.writer.write(b"heard")

    assert await pair.client.reader.readexactly(5) == b"heard"
    assert pair.relay.bytes_given(Direction.TO_TARGET) == 0


async def test_nobody_hears_of_a_connection_that_ends_behind_a_drop(pair: Pair) -> None:
    pair.relay.drop()
    pair.client.writer.write(b"last words")
    pair.client.writer.close()
    await until(lambda: pair.relay.bytes_taken(Direction.TO_TARGET) == 10)
    assert pair.relay.connections == 1

    await pair.relay.heal()

    assert await pair.target.reader.read() == b"last words"


async def test_a_connection_made_behind_a_drop_reaches_the_target_afterwards(
    relay: Relay, target: Target, dial: Dial
) -> None:
    relay.drop(Direction.TO_TARGET)
    client = await dial()
    client.writer.write(b"hello")
    await until(lambda: relay.bytes_taken(Direction.TO_TARGET) == 5)
    assert target.accepted.empty()

    await relay.heal()

    accepted = await target.accepted.get()
    assert await accepted.reader.readexactly(5) == b"hello"


async def test_a_connection_given_up_behind_a_drop_never_reaches_the_target(
    relay: Relay, target: Target, dial: Dial
) -> None:
    relay.drop(Direction.TO_TARGET)
    client = await dial()
    await until(lambda: relay.connections == 1)
    client.writer.close()
    await until(lambda: relay.connections == 0)

    await relay.heal()

    assert target.accepted.empty()


async def test_a_sender_feels_a_drop_once_enough_is_held(pair: Pair) -> None:
    pair.relay.drop()
    flood = bytes(64 * 1024 * 1024)
    pair.client.writer.write(flood)
    sent = asyncio.create_task(pair.client.writer.drain())
    await until(lambda: pair.relay.bytes_taken(Direction.TO_TARGET) > 1024 * 1024)
    assert not sent.done()

    await pair.relay.heal()

    assert await pair.target.reader.readexactly(len(flood)) == flood
    await sent


async def test_a_delayed_byte_arrives_no_sooner(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    pair.relay.delay(0.05, Direction.TO_TARGET)
    sent_at = loop.time()
    pair.client.writer.write(b"slow")

    assert await pair.target.reader.readexactly(4) == b"slow"
    assert loop.time() - sent_at >= 0.05


async def test_delayed_bytes_are_under_way_together(pair: Pair) -> None:
    """A delay is a long path, not a narrow one: a hundred messages take no hundred delays."""
    loop = asyncio.get_running_loop()
    pair.relay.delay(0.1, Direction.TO_TARGET)
    sent_at = loop.time()
    for count in range(1, 101):
        pair.client.writer.write(b"x")
        await until(lambda count=count: pair.relay.bytes_taken(Direction.TO_TARGET) == count)

    await pair.target.reader.readexactly(100)

    assert loop.time() - sent_at < 5


async def test_what_is_delayed_leaves_at_once_when_the_delay_is_undone(pair: Pair) -> None:
    pair.relay.delay(3600)
    pair.client.writer.write(b"now")
    await until(lambda: pair.relay.bytes_taken(Direction.TO_TARGET) == 3)

    await pair.relay.heal()

    assert await pair.target.reader.readexactly(3) == b"now"


async def test_a_lost_piece_waits_to_be_sent_again_and_so_does_what_follows(pair: Pair) -> None:
    pair.relay.lose(1.0, Direction.TO_TARGET)
    pair.client.writer.write(b"lost")
    await until(lambda: pair.relay.bytes_held_back(Direction.TO_TARGET) == 4)
    pair.client.writer.write(b" and late")
    await until(lambda: pair.relay.bytes_taken(Direction.TO_TARGET) == 13)
    assert pair.relay.bytes_given(Direction.TO_TARGET) == 0

    await pair.relay.heal()

    assert await pair.target.reader.readexactly(13) == b"lost and late"


async def test_what_is_held_for_a_fault_is_counted_for_good(pair: Pair) -> None:
    pair.client.writer.write(b"before")
    assert await pair.target.reader.readexactly(6) == b"before"
    pair.relay.drop(Direction.TO_TARGET)
    pair.client.writer.write(b"held")
    await until(lambda: pair.relay.bytes_taken(Direction.TO_TARGET) == 10)

    await pair.relay.heal()

    assert await pair.target.reader.readexactly(4) == b"held"
    assert pair.relay.bytes_held_back(Direction.TO_TARGET) == 4
    assert pair.relay.bytes_held_back(Direction.FROM_TARGET) == 0


async def test_a_throttled_connection_carries_no_more_than_its_rate(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    pair.relay.throttle(10_000, Direction.TO_TARGET)
    sent_at = loop.time()
    pair.client.writer.write(bytes(1_000))

    await pair.target.reader.readexactly(1_000)

    # The last portion needs no wait after it.
    assert loop.time() - sent_at >= 0.9 * 1_000 / 10_000


async def test_throttled_bytes_hurry_when_the_throttle_is_undone(pair: Pair) -> None:
    pair.relay.throttle(1)
    pair.client.writer.write(b"one by one")
    assert await pair.target.reader.readexactly(1) == b"o"

    await pair.relay.heal()

    assert await pair.target.reader.readexactly(9) == b"ne by one"


async def test_a_reset_is_noticed_on_both_sides(pair: Pair) -> None:
    pair.relay.reset()

    for stream in (pair.client, pair.target):
        with pytest.raises(ConnectionResetError):
            await stream.reader.read(1)


async def test_new_connections_are_reset_for_as_long_as_it_is_asked_for(
    relay: Relay, target: Target, dial: Dial
) -> None:
    relay.is_resetting = True
    client = await dial()
    with pytest.raises(ConnectionResetError):
        await client.reader.read(1)
    assert relay.connections_reset == 1

    await relay.heal()

    client = await dial()
    client.writer.write(b"again")
    accepted = await target.accepted.get()
    assert await accepted.reader.readexactly(5) == b"again"


async def test_a_reset_of_one_side_resets_the_other(pair: Pair) -> None:
    pair.target.writer.write(b"unread")
    await until(lambda: pair.relay.bytes_given(Direction.FROM_TARGET) == 6)
    pair.relay.drop(Direction.FROM_TARGET)
    pair.client.writer.transport.abort()

    with pytest.raises(ConnectionResetError):
        await pair.target.reader.read(1)


async def test_new_connections_are_refused_and_open_ones_stay(pair: Pair, dial: Dial) -> None:
    pair.relay.refuse()
    with pytest.raises(ConnectionRefusedError):
        await dial()

    pair.client.writer.write(b"still here")

    assert await pair.target.reader.readexactly(10) == b"still here"


async def test_connections_are_taken_again_at_the_same_address(
    relay: Relay, target: Target, dial: Dial
) -> None:
    address = relay.address
    relay.refuse()
    await relay.heal()
    assert relay.address == address

    client = await dial()
    client.writer.write(b"again")

    accepted = await target.accepted.get()
    assert await accepted.reader.readexactly(5) == b"again"


async def test_whoever_dials_a_target_that_is_down_is_reset(target: Target, dial: Dial) -> None:
    assert target.server is not None
    target.server.close()

    client = await dial()

    with pytest.raises(ConnectionResetError):
        await client.reader.read(1)


async def test_stopping_ends_every_connection(relay: Relay, target: Target, dial: Dial) -> None:
    client = await dial()
    await target.accepted.get()

    await relay.stop()

    assert relay.connections == 0
    with pytest.raises(ConnectionResetError):
        await client.reader.read(1)
