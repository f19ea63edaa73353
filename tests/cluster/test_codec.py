"""Commands and entries as bytes."""

import msgpack
import pytest

from cluster import codec, describing
from cluster.core import commands, queue_commands
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
    RaiseVersion,
    Register,
    Release,
    Report,
    Resume,
    Retry,
    Submit,
    Suspend,
    Tick,
    Ticked,
)
from cluster.core.machine import Machine
from cluster.core.model import Backoff, Event, Extras, Idempotency, Kind, NewTask, Policy
from cluster.core.queries import GetTask
from cluster.core.queue_commands import (
    PauseQueue,
    PurgeQueue,
    RemoveDead,
    ResumeQueue,
    RetryDead,
)
from cluster.errors import StorageDamaged, UnsupportedVersion, WireError

KIND = Kind(
    "resize",
    "application/json",
    "images",
    9,
    Policy(2, Backoff(1, 2, 3, 4), 7, 8, 9),
    ("gpu", "ssd"),
    "theirs",
)
TASK = NewTask(
    "0190", b"\x00\xff", KIND, 5, 6, Extras((("k", "v"),), "00-1", "me"), Idempotency("i", b"d")
)

# Every command as it has ever been written: these bytes are in logs, and must be read for ever.
WRITTEN = {
    Suspend("n1"): "9214a26e31",
    Resume("n1"): "9215a26e31",
    RaiseVersion(2): "921602",
    Submit((TASK,)): "92019197a430313930c40200ffc43b97a6726573697a65b06170706c69636174696f6e"
    "2f6a736f6ea6696d61676573099502940102030407080992a3677075a3737364a674686569727305069391"
    "92a16ba176a430302d31a26d6592a169c40164",
    Register("w", "me", ("q",), ("t",), ("gpu",), 4, "n1"): "9902a177a26d6591a17191a17491a36770750"
    "4a26e31a764656661756c74",
    Offer("w", 1, 4, is_standing=True): "9603a1770104c3a764656661756c74",
    Heartbeat("w", (1, 2), "n1"): "9504a177920102a26e31a764656661756c74",
    Leave("w"): "9305a177a764656661756c74",
    Complete("a", 1, b"r"): "9606a16101c40172b86170706c69636174696f6e2f6f637465742d73747265616da764"
    "656661756c74",
    Fail("a", 1, "broken", retry=False): "9607a16101a662726f6b656ec2a764656661756c74",
    Release("a", 1): "9408a16101a764656661756c74",
    Report("a", 1, b"p"): "9609a16101c40170b86170706c69636174696f6e2f6f637465742d73747265616da764"
    "656661756c74",
    Cancel("a"): "930aa161a764656661756c74",
    Retry("a"): "930ba161a764656661756c74",
    Tick(): "910c",
    BeginTerm("n1", 1, 2, 3): "950da26e31010203",
    Drain("w"): "930ea177a764656661756c74",
    PauseQueue("q"): "930fa171a764656661756c74",
    ResumeQueue("q"): "9310a171a764656661756c74",
    PurgeQueue("o", "q"): "9411a16fa171a764656661756c74",
    RetryDead("o", "q", "t"): "9512a16fa171a174a764656661756c74",
    RemoveDead("a"): "9313a161a764656661756c74",
}


def entry_of(*each, groups=None):
    packed = [codec.pack_command(command) for command in each]
    return codec.pack_entry(40, 50, groups or [("n1", 7, packed)])


def test_every_command_has_its_bytes():
    members = [*vars(commands).values(), *vars(queue_commands).values()]
    declared = {each for each in members if isinstance(each, type)}
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
    assert (type(task), type(task.kind), type(task.extras)) == (NewTask, Kind, Extras)
    assert (type(task.kind.policy), type(task.kind.policy.backoff)) == (Policy, Backoff)


def test_fields_that_an_older_program_did_not_write_have_their_defaults():
    kind = msgpack.packb(["t", "json"])

    read = codec.unpack_commands([msgpack.packb([13]), msgpack.packb([1, [["a", b"", kind]]])])

    assert read == (BeginTerm(), Submit((NewTask.of("a", "t", b"", "json"),)))


def test_equal_kinds_are_one_in_memory():
    packed = codec.pack_command(Submit((TASK, TASK._replace(id="b"))))

    (command,) = codec.unpack_commands([packed])

    assert command.tasks[0].kind is command.tasks[1].kind


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
    with pytest.raises(UnsupportedVersion, match="op code 99; this program knows 1 to"):
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


def a_machine():
    machine = Machine()
    machine.apply_entry(
        [
            Register("w", "me", ("images",), (), ("gpu", "ssd"), 4, "n1", "theirs"),
            Offer("w", 1, 1, is_standing=True, namespace="theirs"),
            Submit((TASK._replace(delay_ms=0, run_at_ms=None),)),
            Submit((TASK._replace(id="0191", idempotency=None),)),
            PauseQueue("images", "theirs"),
            PurgeQueue("operation", "none", "theirs"),
        ],
        index=1,
        term=2,
        cluster_time_ms=3,
        wall_time_ms=4,
    )
    machine.seal(b"raw", b"outcome")
    return machine


def load(packed):
    loader = codec.MachineLoader()
    for raw in packed:
        loader.feed(raw)
    return loader.finish()


# A snapshot as it has ever been written: these bytes are on disks, and must be read for ever.
SNAPSHOT = (
    (
        "dc001200a668656164657201c410bb69e6eb79501af9658b2fc5e796ab3201020304cd3a98cd13880003ce"
        "0030000001cf7fffffffffffffffcd17c30001"
    ),
    "9601a57370616365a6746865697273020000",
    "9302a6706175736564a6696d61676573",
    (
        "9503a57461736b739a92a430313930a43031393191c40200ff929197a6726573697a65b06170706c696361"
        "74696f6e2f6a736f6ea6696d61676573099502940102030407080992a3677075a3737364a6746865697273"
        "c401009291939192a16ba176a430302d31a26d65c401009292aa70726f63657373696e67a9736368656475"
        "6c6564c402000192919401020304c4010092020392d3fffffd6cd22ffff70092c006920c0ec40100dc0012"
        "9291a177c40100910191c091c0910491c091c0910391009101910091c291c09291c0c4010091c09291c0c4"
        "010091c0919900010203a66c6561736564a1770101c0"
    ),
    (
        "dc001704a7776f726b65727391a17791a26d659291a6746865697273c40100929191a6696d61676573c401"
        "00929190c40100929192a3677075a3737364c4010091049291a26e31c401009291a6616374697665c40100"
        "9104910491cd3a9b91919201a4303139309101910091c391009101910191009101"
    ),
    "9505a472696e67000005",
    (
        "9706a66576656e74739d01000203ad776f726b65725f6a6f696e6564c0c0a6616374697665a177c0c0c0a2"
        "6e319d01010203a97375626d6974746564a430313930a6696d61676573a770656e64696e67c0c0c0c0c09d"
        "01020203a66c6561736564a430313930a6696d61676573aa70726f63657373696e67a1770101c0c09d0103"
        "0203a97375626d6974746564a430313931a6696d61676573a97363686564756c6564c0c0c0c0c09d010402"
        "03ac71756575655f706175736564c0a6696d61676573c0c0c0c0c0c0"
    ),
    "9307a873657373696f6e7301",
    (
        "9308aa6f7065726174696f6e739aa96f7065726174696f6ea6746865697273a57075726765a46e6f6e65c0"
        "0000000003"
    ),
    (
        "9309a46b65797394d9206565613634666333306662326138613366373666636339636161396663643766c4"
        "0164a430313930ce05265c04"
    ),
    "920aa3656e64",
)


def test_a_snapshot_is_written_as_ever():
    assert tuple(raw.hex() for raw in codec.dump_machine(a_machine())) == SNAPSHOT


def test_a_snapshot_is_read_as_it_was_written():
    machine = load(map(bytes.fromhex, SNAPSHOT))

    assert tuple(raw.hex() for raw in codec.dump_machine(machine)) == SNAPSHOT
    assert machine.answer(GetTask("0190", "theirs")) == a_machine().answer(
        GetTask("0190", "theirs")
    )
    assert machine.state_hash == a_machine().state_hash


def test_a_snapshot_that_breaks_off_is_damaged():
    *rest, _ = codec.dump_machine(a_machine())

    with pytest.raises(StorageDamaged, match="breaks off"):
        load(rest)


@pytest.mark.parametrize("raw", [b"", b"\xc1", msgpack.packb(5), msgpack.packb([0, "tasks"])])
def test_what_is_no_snapshot_is_damaged(raw):
    with pytest.raises(StorageDamaged, match="the snapshot cannot be read"):
        load([raw])


def test_a_snapshot_of_a_newer_program_is_not_guessed_at():
    with pytest.raises(UnsupportedVersion, match="version 9; this program knows up to 1"):
        load([msgpack.packb([0, "header", 9, "something", "else"])])


def test_an_entry_is_described_without_payloads_and_secrets():
    entry = codec.unpack_entry(entry_of(Submit((TASK,)), Complete("a", 1, b"secret")))

    described = describing.describe(entry)

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
                    "idempotency_key": "i",
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
            "content_type": "application/octet-stream",
            "namespace": "default",
        },
    ]


def test_a_long_string_is_described_by_its_beginning():
    entry = codec.unpack_entry(entry_of(Fail("a", 1, "x" * 500)))

    assert describing.describe(entry)["commands"][0]["error"] == "x" * 200 + "… 500 characters"


@pytest.mark.parametrize("handed", [1, None, "text", b"garbage", b""])
def test_what_is_no_command_is_told_so(handed: object) -> None:
    with pytest.raises(WireError):
        codec.unpack_commands([handed])  # type: ignore[list-item]
