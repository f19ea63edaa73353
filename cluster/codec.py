"""Commands and log entries <-> msgpack, each with its version.

An entry is `[version, cluster time, wall time, [[origin, request, [command, …]], …]]` and a command
`[op code, field, …]` in the order of its type's fields; a task's kind is packed by itself, as
bytes, so that it is decoded once for all tasks that share it. Op codes are never used again for
another op; fields are only ever appended, with a default that means what their absence meant. A
snapshot is the sections of `core/sections.py`, each packed by itself.

Packing is not for several threads at once: the packer is shared.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from sys import intern
from typing import Any, NamedTuple

import msgpack

from cluster.core import commands, dumping, loading, queue_commands, sections
from cluster.core.commands import Command, Submit
from cluster.core.machine import Machine
from cluster.core.model import Event, Extras, Idempotency, Kind, NewTask
from cluster.errors import StorageDamaged, UnsupportedVersion, WireError

ENTRY_VERSION = 1
SNAPSHOT_VERSION = sections.SNAPSHOT_VERSION
KINDS_REMEMBERED_MAX = 4_096  # Each way.

# The one table of op codes. Append only.
OPS: tuple[tuple[int, type[Command[Any]]], ...] = (
    (1, commands.Submit),
    (2, commands.Register),
    (3, commands.Offer),
    (4, commands.Heartbeat),
    (5, commands.Leave),
    (6, commands.Complete),
    (7, commands.Fail),
    (8, commands.Release),
    (9, commands.Report),
    (10, commands.Cancel),
    (11, commands.Retry),
    (12, commands.Tick),
    (13, commands.BeginTerm),
    (14, commands.Drain),
    (15, queue_commands.PauseQueue),
    (16, queue_commands.ResumeQueue),
    (17, queue_commands.PurgeQueue),
    (18, queue_commands.RetryDead),
    (19, queue_commands.RemoveDead),
    (20, commands.Suspend),
    (21, commands.Resume),
    (22, commands.RaiseVersion),
)


class Group(NamedTuple):
    """Commands that one node proposed together, and the number by which it awaits them."""

    origin: str  # The node that proposed them.
    request: int
    commands: tuple[Command[Any], ...]


class LogEntry(NamedTuple):
    """An entry of the log: what to do, and the times at which it happens, in milliseconds."""

    version: int
    cluster_time_ms: int
    wall_time_ms: int
    groups: tuple[Group, ...]


def pack_command(command: Command[Any]) -> bytes:
    """One command, to be proposed here or forwarded to the leader.

    Raises:
        OverflowError: an integer does not fit into 64 bits.
    """
    code, values = _PACKERS[type(command)]
    packed: bytes = _pack((code, *values(command)))
    return packed


def unpack_commands(packed: Iterable[bytes]) -> tuple[Command[Any], ...]:
    """The commands that `pack_command` packed.

    Raises:
        UnsupportedVersion: an op is not known to this program.
        WireError: the bytes are no command.
    """
    return tuple([_command(_unpack(raw)) for raw in packed])


def pack_entry(
    cluster_time_ms: int,
    wall_time_ms: int,
    groups: Sequence[tuple[str, int, Sequence[bytes]]],
) -> bytes:
    """An entry of groups of packed commands, which go in as they are."""
    parts: list[bytes] = [
        _array_header(4),
        _pack(ENTRY_VERSION),
        _pack(cluster_time_ms),
        _pack(wall_time_ms),
        _array_header(len(groups)),
    ]
    for origin, request, packed in groups:
        parts += (_array_header(3), _pack(origin), _pack(request), _array_header(len(packed)))
        parts += packed
    return b"".join(parts)


def unpack_entry(raw: bytes) -> LogEntry:
    """The entry that `pack_entry` packed.

    Raises:
        UnsupportedVersion: the entry's version or one of its ops is not known to this program.
        WireError: the bytes are no entry.
    """
    content = _unpack(raw)
    version = content[0] if isinstance(content, tuple) and content else None
    if type(version) is not int:
        raise WireError(f"these {len(raw)} bytes are no log entry: it has no version")
    if version != ENTRY_VERSION:
        raise UnsupportedVersion(
            f"log entry of version {version}; this program knows version {ENTRY_VERSION}"
        )
    try:
        _, cluster_time_ms, wall_time_ms, groups = content
        return LogEntry(
            version,
            cluster_time_ms,
            wall_time_ms,
            tuple(
                [
                    Group(intern(origin), request, tuple([_command(each) for each in packed]))
                    for origin, request, packed in groups
                ]
            ),
        )
    except (TypeError, ValueError) as error:
        raise WireError(f"these {len(raw)} bytes are no log entry: {error}") from error


def pack_outcome(replies: Sequence[Any], events: Sequence[Event]) -> bytes:
    """What an entry did, for `Machine.seal`: only ever hashed, never unpacked."""
    packed: bytes = _pack((replies, events))
    return packed


def dump_machine(machine: Machine) -> Iterator[bytes]:
    """The machine between two entries, in sections of about 256 KiB at most.

    Nothing may change meanwhile: a fork's child has the time.
    """
    for section in dumping.dump(machine):
        yield _pack(section)


class MachineLoader:
    """Builds a machine from the sections that `dump_machine` packed, a few milliseconds each."""

    def __init__(self) -> None:
        self._loader = loading.Loader()

    def feed(self, raw: bytes) -> None:
        """Take in the next section.

        Raises:
            UnsupportedVersion: a newer program wrote the snapshot.
            StorageDamaged: it is not the section that comes next, or not what was written.
        """
        try:
            self._loader.feed(_unpack(raw))
        except loading.UnknownVersion as error:
            raise UnsupportedVersion(str(error)) from error
        except (ValueError, WireError) as error:
            raise StorageDamaged(f"the snapshot cannot be read: {error}") from error

    def finish(self) -> Machine:
        """The machine.

        Raises:
            StorageDamaged: the snapshot has not come to its end.
        """
        try:
            return self._loader.finish()
        except ValueError as error:
            raise StorageDamaged(f"the snapshot cannot be read: {error}") from error


def _unpack(raw: Any) -> Any:
    if not isinstance(raw, bytes):
        raise WireError(f"a command is bytes, not {type(raw).__name__}")
    try:
        return msgpack.unpackb(raw, use_list=False, raw=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(f"these {len(raw)} bytes are not msgpack: {error}") from error


def _command(content: Any) -> Command[Any]:
    if not isinstance(content, tuple) or not content or type(content[0]) is not int:
        raise WireError("a command is a list that begins with its op code; this is none")
    build = _BUILDERS.get(content[0])
    if build is None:
        raise UnsupportedVersion(
            f"command with op code {content[0]}; this program knows 1 to {OPS[-1][0]}"
        )
    try:
        return build(*content[1:])
    except (TypeError, ValueError) as error:
        raise WireError(f"a command of op code {content[0]} does not fit: {error}") from error


def _submit(tasks: tuple[Any, ...]) -> Submit:
    return Submit(tuple([_new_task(*task) for task in tasks]))


def _new_task(
    id_: str,
    payload: bytes,
    kind: bytes,
    delay_ms: int = 0,
    run_at_ms: int | None = None,
    extras: tuple[Any, ...] | None = None,
    idempotency: tuple[str, bytes] | None = None,
) -> NewTask:
    return NewTask(
        id_,
        payload,
        _kind(kind),
        delay_ms,
        run_at_ms,
        None if extras is None else Extras(*extras),
        None if idempotency is None else Idempotency(*idempotency),
    )


@lru_cache(maxsize=KINDS_REMEMBERED_MAX)
def _kind(packed: bytes) -> Kind:
    """The kind that `_packed_kind` packed. Tasks of one kind share it in memory."""
    return Kind.of_plain(_unpack(packed))


@lru_cache(maxsize=KINDS_REMEMBERED_MAX)
def _packed_kind(kind: Kind) -> bytes:
    packed: bytes = _pack(kind)
    return packed


def _submit_values(command: Submit) -> tuple[Any, ...]:
    """A submission's fields, each task's kind packed by itself: it is decoded only once."""
    tasks = [
        (task.id, task.payload, _packed_kind(task.kind), *task[_KIND_PLACE + 1 :])
        for task in command.tasks
    ]
    return (tasks,)


def _array_header(length: int) -> bytes:
    """How msgpack begins an array of this length."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 65_536:
        return struct.pack(">BH", 0xDC, length)
    return struct.pack(">BI", 0xDD, length)


def _values(command_type: type[Command[Any]]) -> Callable[[Any], Iterable[Any]]:
    """What takes a command's fields out of it, in order; made once, when this is imported."""
    names = [field.name for field in fields(command_type)]
    if not names:
        return lambda _command: ()
    values = attrgetter(*names)
    return values if len(names) > 1 else lambda command: (values(command),)


_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_KIND_PLACE = NewTask._fields.index("kind")
_PACKERS = {command_type: (code, _values(command_type)) for code, command_type in OPS}
_PACKERS[Submit] = (1, _submit_values)
_BUILDERS: dict[int, Callable[..., Command[Any]]] = dict(OPS) | {1: _submit}
