"""What must hold of a whole run, once it is over: the clients' history against the merged log.

The log as applied is replayed through a machine of its own, so that every answer that a client got
can be compared with the one it should have got. Pure functions of what was recorded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chaos.simulation.history import Attempt, Kind, Outcome
from chaos.simulation.judge import Applied
from chaos.simulation.promises import Answered, Finding, Promises
from chaos.simulation.workload import tag_of
from cluster import codec
from cluster.core.commands import Command, Complete, Fail, Settled
from cluster.core.machine import Machine
from cluster.core.model import Event


class Replayed(NamedTuple):
    """What the merged log says."""

    positions: Mapping[str, list[int]]  # Tag -> the indexes of the entries that carry it.
    replies: Mapping[str, Any]  # Tag -> the reply to its first command.
    events: Sequence[Event]
    answers: Mapping[int, Any]  # By position in the list of reads.
    machine: Machine
    settled: Sequence[Settling]
    answered: Mapping[int, Answered]  # By index: the entry's commands, each with its reply.
    broken: Sequence[Finding]  # Of what was promised on the way.


class Settling(NamedTuple):
    """An outcome that was accepted, and the tokens that were the task's newest then."""

    command: Complete | Fail
    newest: tuple[int, ...]


def judge_history(
    ledger: Mapping[int, Applied], attempts: Sequence[Attempt], *, seconds: float
) -> list[Finding]:
    """Everything that the history and the log, *seconds* long, do not agree on."""
    holes = [
        index
        for index in range(min(ledger, default=1), max(ledger, default=0))
        if index not in ledger
    ]
    if holes:
        return [("applied without holes", f"nobody applied entry {holes[0]}")]
    reads = [
        each for each in attempts if each.kind is not Kind.WRITE and each.outcome is Outcome.OK
    ]
    replayed = replay(ledger, reads)
    return [
        *_writes(ledger, attempts, replayed),
        *_reads(reads, replayed),
        *_order(attempts),
        *_sessions(attempts),
        *_leases(replayed),
        *_fences(replayed),
        *_time(replayed, seconds),
        *replayed.broken,
    ]


def replay(ledger: Mapping[int, Applied], reads: Sequence[Attempt]) -> Replayed:
    """Apply the merged log to a new machine, answering each read where it says it was answered."""
    machine = Machine()
    promises = Promises(machine)
    answered: dict[int, Answered] = {}
    broken: list[Finding] = []
    positions: dict[str, list[int]] = defaultdict(list)
    replies: dict[str, Any] = {}
    events: list[Event] = []
    settled: list[Settling] = []
    tokens: dict[str | None, int] = {}
    answers: dict[int, Any] = {}
    waiting: dict[int, list[int]] = defaultdict(list)
    for number, read in enumerate(reads):
        waiting[read.index].append(number)
    for index in sorted(ledger):
        applied = ledger[index]
        if applied.command is not None:
            promises.before()
            done = _apply(machine, index, applied)
            broken += promises.after(index, done.answered, done.events)
            answered[index] = done.answered
            events += done.events
            settled += _settlings(done, tokens)
            for tag, reply in done.tagged():
                positions[tag].append(index)
                replies.setdefault(tag, reply)
        for number in waiting.get(index, ()):
            answers[number] = machine.answer(reads[number].asked)
    return Replayed(positions, replies, events, answers, machine, settled, answered, broken)


class Done(NamedTuple):
    """What one entry did."""

    answered: list[tuple[Command[Any], Any]]
    events: tuple[Event, ...]

    def tagged(self) -> Iterator[tuple[str, Any]]:
        """The replies to commands that carry a client's tag."""
        for command, reply in self.answered:
            tag = tag_of(command)
            if tag is not None:
                yield tag, reply


def _settlings(done: Done, tokens: dict[str | None, int]) -> Iterator[Settling]:
    """The outcomes that an entry accepted; *tokens* is brought up to date."""
    leased = [
        (event.task_id, event.lease_token or 0) for event in done.events if event.kind == "leased"
    ]
    before = {task_id: tokens.get(task_id, 0) for task_id, _ in leased}
    tokens.update(leased)
    for command, reply in done.answered:
        if isinstance(command, Complete | Fail) and isinstance(reply, Settled):
            now = tokens.get(command.task_id, 0)
            if not reply.is_duplicate:
                yield Settling(command, (before.get(command.task_id, now), now))


def _apply(machine: Machine, index: int, applied: Applied) -> Done:
    assert applied.command is not None
    entry = codec.unpack_entry(applied.command)
    commands = [command for group in entry.groups for command in group.commands]
    done = machine.apply_entry(
        commands,
        index=index,
        term=applied.term,
        cluster_time_ms=entry.cluster_time_ms,
        wall_time_ms=entry.wall_time_ms,
    )
    return Done(list(zip(commands, done.replies, strict=True)), done.events)


def _writes(
    ledger: Mapping[int, Applied], attempts: Sequence[Attempt], replayed: Replayed
) -> Iterator[Finding]:
    """Acknowledged: once, where it was told, with that reply. Refused: never. Unknown: at most."""
    for attempt in attempts:
        if attempt.kind is not Kind.WRITE:
            continue
        at = replayed.positions.get(attempt.tag, [])
        is_tagged = tag_of(attempt.asked) is not None
        if attempt.outcome is Outcome.OK:
            entry = ledger.get(attempt.index)
            if entry is None or entry.term != attempt.term:
                yield "acknowledged is kept", f"{attempt.tag} at {attempt.index} is in no log"
            elif is_tagged and at != [attempt.index]:
                yield "acknowledged once, as told", f"{attempt.tag}: {at}, told {attempt.index}"
            elif is_tagged and replayed.replies[attempt.tag] != attempt.value:
                yield "the reply is the machine's", f"{attempt.tag} got {attempt.value}"
            elif (attempt.asked, attempt.value) not in replayed.answered[attempt.index]:
                yield "the reply is the machine's", f"{attempt.asked} got {attempt.value}"
        elif attempt.outcome is Outcome.FAIL and at:
            yield "what failed never happened", f"{attempt.tag} is in entry {at[0]}"
        elif len(at) > 1:
            yield "a proposal commits at most once", f"{attempt.tag} is in entries {at}"


def _reads(reads: Sequence[Attempt], replayed: Replayed) -> Iterator[Finding]:
    for number, read in enumerate(reads):
        if number in replayed.answers and replayed.answers[number] != read.value:
            yield (
                "a read shows the state of its index",
                f"{read.process} at {read.index} on {read.node}: {read.asked}",
            )


def _order(attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """What returned before another began has no higher index, and a write a lower one."""
    done = sorted((each for each in attempts if each.outcome is Outcome.OK), key=_returned)
    moments = [each.returned for each in done]
    highest: list[Attempt] = []
    for each in done:
        highest.append(each if not highest or each.index > highest[-1].index else highest[-1])
    for each in done:
        before = bisect_left(moments, each.invoked)
        if each.kind is Kind.STALE or before == 0:
            continue
        earlier = highest[before - 1]
        is_write = each.kind is Kind.WRITE and earlier.kind is Kind.WRITE
        if each.index < earlier.index or (is_write and each.index == earlier.index):
            yield (
                "linearizable",
                (
                    f"{each.kind} of {each.process} at {each.index} began "
                    f"{each.invoked - earlier.returned:.4f} s after {earlier.kind} of "
                    f"{earlier.process} at {earlier.index} had returned"
                ),
            )


def _sessions(attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """What a reader asked for at least is what it got."""
    for each in attempts:
        if each.outcome is Outcome.OK and each.index < each.min_index:
            yield (
                "a session never goes back",
                f"{each.process} asked {each.node} for {each.min_index}, got {each.index}",
            )


def _leases(replayed: Replayed) -> Iterator[Finding]:
    """Tokens only grow, each task is completed once, and a new leader gives everyone grace."""
    newest = 0
    completed: set[str | None] = set()
    graced_until_ms = 0
    for event in replayed.events:
        if event.kind == "leased":
            token = event.lease_token or 0
            if token <= newest:
                yield "tokens only grow", f"lease {token} of {event.task_id} came after {newest}"
            newest = token
        elif event.kind == "completed":
            if event.task_id in completed:
                yield "one task, one result", f"{event.task_id} was completed twice"
            completed.add(event.task_id)
        elif event.kind == "leader_changed":
            graced_until_ms = event.time_ms + replayed.machine.state.lease_ms
        elif event.kind == "worker_lost" and event.time_ms < graced_until_ms:
            yield (
                "an outage costs no lease",
                f"{event.worker_id} was lost at {event.time_ms}, in grace to {graced_until_ms}",
            )


def _fences(replayed: Replayed) -> Iterator[Finding]:
    """Only the newest token settles a task."""
    for command, newest in replayed.settled:
        if command.lease_token not in newest:
            yield (
                "only the newest token settles",
                f"{command.op} of {command.task_id} under {command.lease_token}, newest {newest}",
            )


def _time(replayed: Replayed, seconds: float) -> Iterator[Finding]:
    """Cluster time stands still without a leader, and is never faster than time."""
    if replayed.machine.cluster_time_ms > seconds * 1_000 + 1:
        yield (
            "cluster time is time with a leader",
            f"{replayed.machine.cluster_time_ms} ms of it passed in {seconds:.3f} s",
        )


def _returned(attempt: Attempt) -> float:
    return attempt.returned


def summary(attempts: Sequence[Attempt]) -> dict[str, int]:
    """How many attempts ended how."""
    return dict(sorted(Counter(str(each.outcome) for each in attempts).items()))
