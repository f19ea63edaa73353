"""The outbox: what is put in goes out in order, in messages that may be sent."""

from __future__ import annotations

import asyncio

import msgpack

from gateway.frames import MESSAGE_BYTES_MAX, MESSAGE_FRAMES_MAX
from gateway.outbox import MESSAGE_BYTES_AIMED, QUEUED_BYTES_MAX, Outbox

LARGE = MESSAGE_BYTES_AIMED // 2 + 1


async def sent(*frames: bytes) -> list[list[bytes]]:
    """The messages that become of frames put in at once, each as its frames' contents."""
    messages: list[bytes] = []

    async def send(message: bytes) -> None:
        messages.append(message)

    box = Outbox()
    for frame in frames:
        box.put(msgpack.packb(frame))
    running = asyncio.create_task(box.run(send))
    await box.flushed()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert all(len(message) <= MESSAGE_BYTES_MAX for message in messages)
    return [msgpack.unpackb(message) for message in messages]


async def test_what_is_put_in_at_once_goes_out_together() -> None:
    assert await sent(b"a", b"b", b"c") == [[b"a", b"b", b"c"]]


async def test_a_message_has_no_more_frames_than_may_be() -> None:
    messages = await sent(*[b"x"] * (MESSAGE_FRAMES_MAX + 1))

    assert [len(message) for message in messages] == [MESSAGE_FRAMES_MAX, 1]


async def test_large_frames_go_alone_and_in_order() -> None:
    largest = bytes(MESSAGE_BYTES_MAX - 1_024)

    messages = await sent(b"a", bytes(LARGE), bytes(LARGE), largest, b"b")

    assert [list(map(len, message)) for message in messages] == [
        [1, LARGE],
        [LARGE],
        [len(largest)],
        [1],
    ]


async def test_there_is_room_again_once_enough_was_sent() -> None:
    may_send = asyncio.Event()

    async def send(_message: bytes) -> None:
        await may_send.wait()

    box = Outbox()
    running = asyncio.create_task(box.run(send))
    box.put(bytes(QUEUED_BYTES_MAX))
    waiting = asyncio.create_task(box.room())
    await asyncio.sleep(0)
    assert not box.has_room
    assert not waiting.done()

    may_send.set()
    await asyncio.wait_for(waiting, 10)

    assert box.has_room
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
