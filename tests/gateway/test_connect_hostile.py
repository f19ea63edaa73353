"""Hostile peers on `/connect`: each is told what it did and cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgpack
import pytest
import pytest_asyncio
from aiohttp import WSMsgType
from yarl import URL

from gateway import bodies, connect
from gateway.connection import Connection
from gateway.frames import MESSAGE_BYTES_MAX, PROTOCOL
from gateway.ids import new_id
from node.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNHARMED_SECONDS = 1.0
WAIT_SECONDS = 10.0
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": PROTOCOL,
}


@pytest_asyncio.fixture(loop_scope="module")
async def other(url: str) -> AsyncIterator[Connection]:
    """Another client of the node, which must not be harmed."""
    connection = await Connection.open(url)
    yield connection
    await unharmed(connection)
    await connection.close()


async def unharmed(other: Connection) -> None:
    """Hold that the other client is answered as if nothing was the matter."""
    answer = await other.call("workers", {"limit": 1}, timeout_seconds=UNHARMED_SECONDS)
    assert answer.status == 200


async def closing(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """The code and the reason that the node closes with, whatever it says before."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.CLOSE:
                return message.data, message.extra or ""
            assert message.type is WSMsgType.BINARY, message


def call(number: int, name: str = "livez", **members: object) -> list[Any]:
    """A call's frame."""
    return ["call", number, name, members]


SLOW = {"id": new_id(), "wait": 60}

MESSAGES = {
    "no array": (msgpack.packb({}), 1002, "array of frames"),
    "no frame": (msgpack.packb([1]), 1002, "array that begins with its kind"),
    "unknown kind": (msgpack.packb([["shout", 1]]), 1002, "'shout'"),
    "no msgpack": (b"\xc1", 1007, "msgpack"),
    "cut short": (msgpack.packb([call(1)])[:-1], 1007, "msgpack"),
    "a name that is no UTF-8": (b"\x91\x94\xa4call\x01\xa2\xff\xfe\x80", 1007, "utf-8"),
    "too deep": (b"\x91" * 100_000 + b"\xc0", 1007, "msgpack"),
    "too many frames": (msgpack.packb([0] * 1_001), 1009, "1,000 frames"),
    "too many large frames": (msgpack.packb([call(1, x="y" * 90)] * 1_001), 1009, "frames"),
    "number used twice": (
        msgpack.packb([call(7, "lease", wait=60, id=new_id())] * 2),
        1002,
        "call 7 is still in flight",
    ),
    "large and no call": (msgpack.packb([["call", 1, "x" * 100_000]]), 1002, "body a map"),
}


@pytest.mark.parametrize(("message", "code", "reason"), MESSAGES.values(), ids=MESSAGES)
@pytest.mark.usefixtures("other")
async def test_a_message_that_is_none_closes_the_connection_and_says_why(
    http: aiohttp.ClientSession, message: bytes, code: int, reason: str
) -> None:
    async with http.ws_connect("/connect", protocols=[PROTOCOL], max_msg_size=0) as socket:
        await socket.send_bytes(message)
        told, said = await closing(socket)

    assert told == code
    assert reason in said


@pytest.mark.usefixtures("other")
async def test_a_message_that_is_too_large_is_not_taken(http: aiohttp.ClientSession) -> None:
    async with http.ws_connect("/connect", protocols=[PROTOCOL]) as socket:
        with contextlib.suppress(ConnectionError):  # It may be cut off while it still sends.
            await socket.send_bytes(bytes(MESSAGE_BYTES_MAX + 1))
        message = await socket.receive(WAIT_SECONDS)

    assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)


@pytest.mark.usefixtures("other")
async def test_text_is_not_read(http: aiohttp.ClientSession) -> None:
    async with http.ws_connect("/connect", protocols=[PROTOCOL]) as socket:
        await socket.send_str("[]")
        code, reason = await closing(socket)

    assert code == 1003
    assert "binary" in reason


async def test_a_message_of_sixteen_million_empty_lists_is_refused_in_time(
    http: aiohttp.ClientSession, other: Connection
) -> None:
    count = MESSAGE_BYTES_MAX - 100
    body = b"\xdd" + struct.pack(">I", count) + b"\x90" * count
    message = b"\x91\x94\xa4call\x01\xa6submit\x81\xa4data" + body
    async with http.ws_connect("/connect", protocols=[PROTOCOL]) as socket:
        await socket.send_bytes(message)
        await unharmed(other)
        answer = msgpack.unpackb((await socket.receive(WAIT_SECONDS)).data)

    assert [reply[:3] for reply in answer] == [["reply", 1, 413]]


BEGUN = b"\x82\xff" + struct.pack(">Q", MESSAGE_BYTES_MAX - 1) + bytes(4)  # A large one's head.


@pytest.mark.usefixtures("other")
async def test_unfinished_messages_are_bounded_together(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "HELD_BYTES_MAX", 3 << 20)
    first, second, third = [await opened_by_hand(url) for _ in range(3)]
    for _reader, writer in (first, second):
        writer.write(BEGUN + bytes(1 << 20))
    await held(lambda size: size > 2 << 20)
    patient = asyncio.create_task(close_frame(first[0]))
    third[1].write(BEGUN + bytes(2 << 20))

    code, said = await asyncio.wait_for(close_frame(third[0]), WAIT_SECONDS)

    assert code == 1013
    assert said.startswith("3 MiB of large bodies")
    assert not patient.done()
    for _reader, writer in (first, second, third):
        writer.transport.abort()
    await asyncio.wait([patient])
    await held(lambda size: size == 0)


@pytest.mark.usefixtures("other")
async def test_a_message_that_trickles_in_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.2)
    reader, writer = await opened_by_hand(url)
    writer.write(BEGUN + bytes(100_000))

    code, said = await asyncio.wait_for(close_frame(reader), WAIT_SECONDS)

    assert code == 1013
    assert "0.2 seconds" in said
    writer.transport.abort()


async def held(is_it: Callable[[int], bool]) -> None:
    """Wait until so much of large bodies is held."""

    async def is_held() -> bool:
        return is_it(bodies.bodies.bytes_held)

    await wait_until(is_held, what="large bodies", timeout_seconds=WAIT_SECONDS)


async def close_frame(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The code and reason that a node closes with, if it says nothing else."""
    head = await reader.readexactly(2)
    content = await reader.readexactly(head[1])
    return int.from_bytes(content[:2]), content[2:].decode()


async def test_calls_beyond_what_may_be_in_flight_are_refused_one_by_one(
    url: str, other: Connection
) -> None:
    task = (await other.call("submit", {"type": "t", "data": 1}, timeout_seconds=10)).value
    greedy = await Connection.open(url)
    wait = {"id": task["id"], "wait": 60}
    asked = [greedy.ask("task", wait) for _ in range(connect.CALLS_MAX + 3)]

    refused = await asyncio.wait_for(asyncio.gather(*asked[-3:]), WAIT_SECONDS)
    await unharmed(other)

    assert [answer.value["code"] for answer in refused] == ["overloaded"] * 3
    assert not any(future.done() for future in asked[:-3])
    await greedy.close()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_a_peer_that_takes_no_answers_is_cut_off(
    url: str, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "STALL_SECONDS", 0.2)
    body = {"type": "t", "data": "x" * 900_000}
    task = (await other.call("submit", body, timeout_seconds=WAIT_SECONDS)).value
    reader, writer = await opened_by_hand(url)
    reader._transport.pause_reading()  # type: ignore[attr-defined]

    writer.write(
        websocket_frame(msgpack.packb([call(n, "task", id=task["id"]) for n in range(1, 101)]))
    )
    await unharmed(other)
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(ConnectionError):
            await knock(writer)
    writer.transport.abort()


async def test_signs_of_life_are_no_message(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a worker without tasks would be cut off once it had pinged for a day."""
    monkeypatch.setattr(bodies, "INLINE_BYTES_MAX", 100)
    async with http.ws_connect("/connect", protocols=[PROTOCOL], autoping=False) as socket:
        for _ in range(40):
            await socket.ping(b"here")
            assert (await socket.receive()).type is WSMsgType.PONG

        assert bodies.bodies.bytes_held == 0


async def opened_by_hand(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket whose frames are ours to write."""
    at = URL(url)
    reader, writer = await asyncio.open_connection(at.host, at.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    writer.write(f"GET /connect HTTP/1.1\r\nHost: {at.authority}\r\n{lines}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def knock(writer: asyncio.StreamWriter) -> None:
    """Send empty messages until the node has cut the connection."""
    while True:
        writer.write(websocket_frame(b"\x90"))
        await writer.drain()
        await asyncio.sleep(0.01)


def websocket_frame(payload: bytes) -> bytes:
    """A client's binary message (RFC 6455, §5.2) under a mask of zeros."""
    return b"\x82" + struct.pack(">BH", 0x80 | 126, len(payload)) + bytes(4) + payload


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "upgrade_required"),
        (UPGRADE | {"Sec-WebSocket-Protocol": "chat"}, "upgrade_required"),
        (UPGRADE | {"Sec-WebSocket-Protocol": f"chat, {PROTOCOL}0"}, "upgrade_required"),
        (UPGRADE | {"Origin": "http://evil.example"}, "forbidden_origin"),
        (UPGRADE | {"Host": "evil.example"}, "forbidden_host"),
        (UPGRADE | {"Sec-WebSocket-Key": "short"}, "upgrade_required"),
        (UPGRADE | {"Sec-WebSocket-Version": "5"}, "upgrade_required"),
        (UPGRADE | {"Sec-WebSocket-Key": "é"}, "upgrade_required"),
        (UPGRADE | {"Sec-WebSocket-Version": "\udcff"}, "upgrade_required"),
        (UPGRADE | {"Upgrade": "\udcff"}, "upgrade_required"),
        (UPGRADE | {"Connection": "\udcff"}, "upgrade_required"),
    ],
)
@pytest.mark.usefixtures("other")
async def test_who_does_not_speak_the_protocol_is_not_let_in(
    http: aiohttp.ClientSession, headers: dict[str, str], code: str
) -> None:
    async with http.get("/connect", headers=headers) as answer:
        assert (await answer.json(content_type=None))["code"] == code


async def test_the_nodes_own_page_is_let_in(http: aiohttp.ClientSession, url: str) -> None:
    async with http.ws_connect("/connect", protocols=[PROTOCOL], origin=url) as socket:
        await socket.send_bytes(msgpack.packb([call(1)]))
        answer = msgpack.unpackb((await socket.receive(WAIT_SECONDS)).data)

    assert answer == [["reply", 1, 200, {"status": "alive"}, 0]]
