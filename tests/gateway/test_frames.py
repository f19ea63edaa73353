"""Frames: what is packed reads back, and what is no frame closes the connection with a reason."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway import frames
from gateway.encoding import DEPTH_MAX
from gateway.frames import Called, Cancelled, Misframed, Pushed, Replied, Unreadable

numbers = some.integers(1, frames.NUMBER_MAX)
scalars = some.none() | some.booleans() | some.integers(-(1 << 63), (1 << 64) - 1) | some.text()
values = some.recursive(
    scalars | some.binary() | some.floats(allow_nan=False, allow_infinity=False),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=12,
)
members = some.dictionaries(some.text(), values, max_size=5)
extras = some.dictionaries(some.sampled_from(sorted(frames.EXTRAS)), scalars)
calls = some.builds(Called, numbers, some.text(), members, extras)
replies = some.builds(Replied, numbers, some.integers(100, 599), values, some.integers(0, 1 << 60))
kinds = some.text().filter(lambda kind: kind != "reply")
pushes = some.builds(Pushed, kinds, values)

packer = msgpack.Packer()


def packed(called: Called) -> bytes:
    """A call as its client packs it."""
    return frames.packed_call(packer, called.number, called.name, called.members, called.extras)


def told(said: Replied | Pushed) -> bytes:
    """A frame to the client as the server packs it."""
    if isinstance(said, Pushed):
        return frames.packed_push(said.kind, frames.packed(said.content))
    return frames.packed_reply(said.number, said.status, frames.packed(said.value), said.index)


@given(some.lists(calls, max_size=8))
def test_calls_read_back_as_they_were_packed(given_calls: list[Called]) -> None:
    message = frames.message_of([packed(called) for called in given_calls])

    assert frames.read_calls(message) == given_calls


@given(some.lists(calls, max_size=8))
def test_a_message_is_split_into_the_very_frames_that_it_was_made_of(
    given_calls: list[Called],
) -> None:
    packed_calls = [packed(called) for called in given_calls]

    assert frames.split(frames.message_of(packed_calls)) == packed_calls


@given(calls)
def test_a_call_whose_body_is_not_read_has_its_number(called: Called) -> None:
    assert frames.call_number(packed(called)) == called.number


def test_to_know_a_calls_number_nothing_of_it_is_built() -> None:
    """A million empty arrays in the place of its name would hold the loop up."""
    frame = msgpack.packb(["call", 1, [[]] * 1_000_000, {}])

    tracemalloc.start()
    complaint = complaint_of(frames.call_number, frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert complaint is not None
    assert peak < 4 * len(frame)


@given(numbers)
def test_what_takes_a_call_back_reads_back(number: int) -> None:
    message = frames.message_of([frames.packed_cancel(number)])

    assert frames.read_calls(message) == [Cancelled(number)]


@given(some.lists(replies | pushes, max_size=8))
def test_what_a_server_says_reads_back(said: list[Replied | Pushed]) -> None:
    assert list(frames.read_told(frames.message_of(list(map(told, said))))) == said


def test_a_push_may_have_nothing_to_add() -> None:
    message = frames.message_of([frames.packed_push("leaving")])

    assert list(frames.read_told(message)) == [Pushed("leaving", None)]


def complaint_of(read: Callable[[bytes], object], content: bytes) -> Misframed | None:
    """What a reader has against the bytes."""
    try:
        read(content)
    except Misframed as complaint:
        return complaint
    return None


READERS: list[Callable[[bytes], object]] = [
    frames.read_calls,
    frames.read_call,
    frames.split,
    frames.call_number,
    lambda message: list(frames.read_told(message)),
]


@given(some.binary(max_size=64) | values.map(msgpack.packb))
def test_no_bytes_make_more_of_a_reader_than_a_complaint(content: bytes) -> None:
    for complaint in (complaint_of(read, content) for read in READERS):
        if complaint is not None:
            assert complaint.close_code in (1002, 1003, 1007, 1009)
            assert 0 < len(complaint.reason) <= 123


CALL = ["call", 1, "livez", {}]


def deep(levels: int) -> dict[str, Any]:
    """Members nested so deep."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    ("message", "close_code"),
    [
        ({}, 1002),
        ("call", 1002),
        (["call", 1, "livez", {}], 1002),
        ([[]], 1002),
        ([["shout", 1]], 1002),
        ([["call", 0, "livez", {}]], 1002),
        ([["call", -1, "livez", {}]], 1002),
        ([["call", True, "livez", {}]], 1002),
        ([["call", 1 << 63, "livez", {}]], 1002),
        ([["call", 1.0, "livez", {}]], 1002),
        ([["call", 1, 2, {}]], 1002),
        ([["call", 1, "livez", []]], 1002),
        ([["call", 1, "livez"]], 1002),
        ([[*CALL, {}, {}]], 1002),
        ([[*CALL, []]], 1002),
        ([[*CALL, {"colour": "red"}]], 1002),
        ([["cancel"]], 1002),
        ([["cancel", 0]], 1002),
        ([["cancel", "1"]], 1002),
        ([["cancel", 1, {}]], 1002),
        ([CALL] * 1_001, 1009),
    ],
)
def test_what_is_no_call_closes_the_connection(message: Any, close_code: int) -> None:
    with pytest.raises(Misframed) as complaint:
        frames.read_calls(msgpack.packb(message))

    assert complaint.value.close_code == close_code


@pytest.mark.parametrize(
    "members",
    [
        {1: 2},
        {"a": msgpack.ExtType(4, b"")},
        {"a": float("nan")},
        {"a": [[]] * 2, None: 1},
        deep(70),
    ],
    ids=["key", "extension", "nan", "null key", "depth"],
)
def test_a_call_whose_members_break_a_rule_is_found_among_others(members: Any) -> None:
    message = msgpack.packb([CALL, ["call", 2, "submit", members], ["call", 3, "livez", {}]])

    first, second, third = frames.read_calls(message)

    assert isinstance(second, Unreadable)
    assert second.number == 2
    assert second.reason
    assert (first, third) == (Called(1, "livez", {}, {}), Called(3, "livez", {}, {}))


@pytest.mark.parametrize("levels", [DEPTH_MAX - 1, DEPTH_MAX])
def test_a_calls_members_may_be_as_deep_as_a_body(levels: int) -> None:
    frame = ["call", 1, "submit", deep(levels)]

    (among_others,) = frames.read_calls(msgpack.packb([frame]))
    alone = frames.read_call(msgpack.packb(frame))

    assert among_others == alone
    assert isinstance(alone, Called if levels < DEPTH_MAX else Unreadable)


def test_bytes_after_the_array_are_refused() -> None:
    message = msgpack.packb([CALL]) + b"\xc0"

    for read in (frames.read_calls, frames.split):
        with pytest.raises(Misframed):
            read(message)


def test_a_message_of_too_many_frames_is_not_even_split() -> None:
    with pytest.raises(Misframed, match="1,000 frames"):
        frames.split(msgpack.packb([0] * 1_001))


def test_a_long_complaint_is_cut_to_what_a_close_may_say() -> None:
    assert len(Misframed(1002, "ü" * 200).reason) == 123
