"""Commands and entries as bytes."""

import msgpack
import pytest

from cluster import codec
from cluster.core import commands
from cluster.core.commands import (
    BeginTerm,
    Cancel,
    Command,
    Complete,
    Drain,
    Fail,
    Heartbeat,
    Leave,
    Offer,
    Register,
    Release,
    Report,
    Retry,
    Submit,
    Tick,
    Ticked,
)
from cluster.core.model import Backoff, Event, NewTask, Policy
from cluster.errors import UnsupportedVersion, WireError

TASK = NewTask(
    "0190",
    "resize",
    b"\x00\xff",
    "application/json",
    "images",
    9,
    5,
    6,
    Policy(2, Backoff(1, 2, 3, 4), 7, 8, 9),
    ("gpu", "ssd"),
    (("k", "v"),),
    "00-1",
    "me",
    "theirs",
)

# Every command as it has ever been written: these bytes are in logs, and must be read for ever.
WRITTEN = {
    Submit((TASK,)): "9201919ea430313930a6726573697a65c40200ffb06170706c69636174696f6e2f6a736f6e"
    "a6696d616765730905069502940102030407080992a3677075a37373649192a16ba176a430302d31a26d65"
    "a6746865697273",
    Register("w", "me", ("q",), ("t",), ("gpu",), 4, "n1"): "9902a177a26d6591a17191a17491a36770750"
    "4a26e31a764656661756c74",
    Offer("w", 1, 4, is_standing=True): "9603a1770104c3a764656661756c74",
    Heartbeat("w", (1, 2), "n1"): "9504a177920102a26e31a764656661756c74",
    Leave("w"): "9305a177a764656661756c74",
    Complete("a", 1, b"r"): "9506a16101c40172a764656661756c74",
    Fail("a", 1, "broken", retry=False): "9607a16101a662726f6b656ec2a764656661756c74",
    Release("a", 1): "9408a16101a764656661756c74",
    Report("a", 1, b"p"): "9509a16101c40170a764656661756c74",
    Cancel("a"): "930aa161a764656661756c74",
    Retry("a"): "930ba161a764656661756c74",
    Tick(): "910c",
    BeginTerm("n1", 1, 2): "940da26e310102",
    Drain("w"): "930ea177a764656661756c74",
}


def entry_of(*each, groups=None):
    packed = [codec.pack_command(command) for command in each]
    return codec.pack_entry(40, 50, groups or [("n1", 7, packed)])


def test_every_command_has_its_bytes():
    declared = {each for each in vars(commands).values() if isinstance(each, type)}
    written = {type(command) for command in WRITTEN}

    assert written == {each for each in declared if issubclass(each, Command)} - {Command}


@pytest.mark.parametrize("command", WRITTEN, ids=lambda command: command.op)
def test_a_command_is_written_as_ever(command):
    assert codec.pack_command(command).hex() == WRITTEN[command]


@pytest.mark.parametrize("command", WRITTEN, ids=lambda command: command.op)
def test_what_was_ever_written_is_read(command):
    assert codec.unpack_commands([bytes.fromhex(WRITTEN[command])]) == (command,)


def test_what_is_read_has_the_machines_types():
    (command,) = codec.unpack_commands([codec.pack_command(Submit((TASK,)))])

    (task,) = command.tasks
    assert (type(task), type(task.policy), type(task.policy.backoff)) == (NewTask, Policy, Backoff)


def test_fields_that_an_older_program_did_not_write_have_their_defaults():
    assert codec.unpack_commands([msgpack.packb([13])]) == (BeginTerm(),)


def test_equal_policies_are_one_in_memory():
    packed = codec.pack_command(Submit((TASK, TASK._replace(id="b"))))

    (command,) = codec.unpack_commands([packed])

    assert command.tasks[0].policy is command.tasks[1].policy


def test_an_entry_reads_as_it_was_written():
    raw = codec.pack_entry(
        40,
        50,
        [
            ("n1", 7, [codec.pack_command(Tick()), codec.pack_command(Cancel("a"))]),
            ("n2", 2**40, [codec.pack_command(Retry("b"))]),
        ],
    )

    assert codec.unpack_entry(raw) == (
        1,
        40,
        50,
        (("n1", 7, (Tick(), Cancel("a"))), ("n2", 2**40, (Retry("b"),))),
    )


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_an_entry_holds_any_number_of_commands(count):
    raw = codec.pack_entry(0, 0, [("n1", 1, [codec.pack_command(Tick())] * count)])

    assert len(codec.unpack_entry(raw).groups[0].commands) == count


def test_an_entry_of_another_version_is_not_guessed_at():
    with pytest.raises(UnsupportedVersion, match="version 9; this program knows version 1"):
        codec.unpack_entry(msgpack.packb([9, "something", "else"]))


def test_an_op_of_another_program_is_not_guessed_at():
    with pytest.raises(UnsupportedVersion, match="op code 99; this program knows 1 to 14"):
        codec.unpack_commands([msgpack.packb([99])])


def test_an_unknown_op_within_an_entry_is_named_too():
    raw = codec.pack_entry(0, 0, [("n1", 1, [msgpack.packb([99])])])

    with pytest.raises(UnsupportedVersion, match="op code 99"):
        codec.unpack_entry(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"\x93\x01",
        msgpack.packb(5),
        msgpack.packb([]),
        msgpack.packb(["1"]),
        msgpack.packb([1, 2]),
        msgpack.packb([1, 2, 3, [[]]]),
        msgpack.packb([1, 2, 3, [[5, 1, []]]]),
        msgpack.packb([1, 2, 3, [["n1", 1, [5]]]]),
        msgpack.packb([1, 2, 3, [["n1", 1, [[10]]]]]),
        msgpack.packb([1, 2, 3, [["n1", 1, [[1, [[1]]]]]]]),
        msgpack.packb([1, 2, 3, [["n1", 1, [[["unhashable"]]]]]]),
        msgpack.packb([1, 2, 3, [["n1", 1, [[[{}]]]]]]),
        msgpack.packb([1, 2, 3, []]) + b"more",
    ],
)
def test_what_is_no_entry_is_refused(raw):
    with pytest.raises((WireError, UnsupportedVersion)):
        codec.unpack_entry(raw)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xc1", *(msgpack.packb(each) for each in (5, [], [10], [True, []], [{}], ["submit"]))],
)
def test_what_is_no_command_is_refused(raw):
    with pytest.raises(WireError):
        codec.unpack_commands([raw])


def test_an_integer_beyond_64_bits_is_not_written():
    with pytest.raises(OverflowError):
        codec.pack_command(Complete("a", 2**64, b""))


def test_what_was_not_written_leaves_no_trace():
    with pytest.raises(OverflowError):
        codec.pack_command(Complete("a", 2**64, b""))

    assert codec.pack_command(Tick()).hex() == WRITTEN[Tick()]


def test_an_outcome_tells_replies_and_events_apart():
    event = Event(1, 0, 1, 40, "completed", "a")

    outcomes = [
        codec.pack_outcome([Ticked(1)], []),
        codec.pack_outcome([Ticked(2)], []),
        codec.pack_outcome([Ticked(1)], [event]),
        codec.pack_outcome([Ticked(1)], [event._replace(kind="failed")]),
    ]

    assert len(set(outcomes)) == 4


def test_an_entry_is_described_without_payloads_and_secrets():
    entry = codec.unpack_entry(entry_of(Submit((TASK,)), Complete("a", 1, b"secret")))

    described = codec.describe(entry)

    assert described["cluster_time_ms"] == 40
    assert described["wall_time_ms"] == 50
    assert described["commands"] == [
        {
            "op": "submit",
            "origin": "n1",
            "tasks": [
                {
                    "id": "0190",
                    "type": "resize",
                    "payload": "2 bytes",
                    "content_type": "application/json",
                    "queue": "images",
                    "priority": 9,
                    "delay_ms": 5,
                    "run_at_ms": 6,
                    "policy": {
                        "max_attempts": 2,
                        "backoff": {
                            "initial_ms": 1,
                            "multiplier_thousandths": 2,
                            "max_ms": 3,
                            "jitter_thousandths": 4,
                        },
                        "timeout_ms": 7,
                        "ttl_ms": 8,
                        "retention_ms": 9,
                    },
                    "requires": ["gpu", "ssd"],
                    "meta": ["k"],
                    "traceparent": "00-1",
                    "submitted_by": "me",
                    "namespace": "theirs",
                }
            ],
        },
        {
            "op": "complete",
            "origin": "n1",
            "task_id": "a",
            "lease_token": 1,
            "result": "6 bytes",
            "namespace": "default",
        },
    ]


def test_a_long_string_is_described_by_its_beginning():
    entry = codec.unpack_entry(entry_of(Fail("a", 1, "x" * 500)))

    assert codec.describe(entry)["commands"][0]["error"] == "x" * 200 + "… 500 characters"
