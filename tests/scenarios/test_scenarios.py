"""Stories of the machine, as transcripts that a person can read and a program can check.

A line that begins with `>` is one log entry; what stands indented under it is the reply and the
events, as the machine gave them. `#` and blank lines are for the reader. After a change of the
machine's behaviour, look at what `QUORATE_REGENERATE=1 pytest tests/scenarios` has rewritten.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.core import ring
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
    Refused,
    Register,
    Release,
    Report,
    Resume,
    Retry,
    Submit,
    SubmittedTask,
    Suspend,
    Tick,
)
from cluster.core.dumping import dump
from cluster.core.invariants import check
from cluster.core.loading import Loader
from cluster.core.machine import Machine
from cluster.core.model import Event, Idempotency, Lease, NewTask, Policy, Position
from cluster.core.queries import EventsAfter, EventsGone, GetTask, Timeline
from cluster.core.queue_commands import (
    PauseQueue,
    PurgeQueue,
    RemoveDead,
    ResumeQueue,
    RetryDead,
)
from cluster.core.queue_queries import GetOperation, GetQueue, ListDead
from cluster.core.timelines import Entry

HERE = Path(__file__).parent
EVENTS_MAX = 8  # So few are kept here that a story can tell of their end.
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def milliseconds(text: str) -> int:
    number = text.rstrip("hms")
    return int(number) * UNITS_MS[text.removeprefix(number)]


def new_tasks(ids: list[str], options: dict[str, str]) -> Submit:
    """`queue= type= priority= requires= delay= attempts= timeout= ttl= retention= key= body=` and
    `size=`, the bytes of its payload.
    """
    limits = {
        f"{name}_ms": milliseconds(options[name])
        for name in ("timeout", "ttl", "retention")
        if name in options
    }
    policy = Policy(max_attempts=int(options.get("attempts", "4")), **limits)
    tasks = [
        NewTask.of(
            task_id,
            options.get("type", "process"),
            b"x" * int(options["size"]) if "size" in options else b"{}",
            "application/json",
            queue=options.get("queue", "default"),
            priority=int(options.get("priority", "4")),
            delay_ms=milliseconds(options.get("delay", "0ms")),
            policy=policy,
            requires=words(options.get("requires", "")),
            idempotency=key_of(options),
        )
        for task_id in ids
    ]
    return Submit(tuple(tasks))


def key_of(options: dict[str, str]) -> Idempotency | None:
    if "key" not in options:
        return None
    return Idempotency(options["key"], options.get("body", "").encode())


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def new_worker(worker_id: str, options: dict[str, str]) -> tuple[Register, Offer]:
    """`slots= queues= types= tags= node=`; it offers all of its slots, standing."""
    slots = int(options.get("slots", "1"))
    queues = words(options.get("queues", "default"))
    types, tags = words(options.get("types", "")), words(options.get("tags", ""))
    node = options.get("node", "node1")
    return (
        Register(worker_id, worker_id, queues, types, tags, slots, node),
        Offer(worker_id, 1, slots, is_standing=True),
    )


VERBS: dict[str, Callable[[list[str], dict[str, str]], Command[Any]]] = {
    "submit": new_tasks,
    "offer": lambda names, to: Offer(names[0], int(to["epoch"]), int(to["slots"]), True),
    "poll": lambda names, to: Offer(names[0], int(to["epoch"]), int(to["slots"]), False),
    "heartbeat": lambda names, to: Heartbeat(
        names[0], tuple(map(int, names[1:])), to.get("node", "node1")
    ),
    "drain": lambda names, _: Drain(names[0]),
    "leave": lambda names, _: Leave(names[0]),
    "complete": lambda names, _: Complete(names[0], int(names[1]), b"42"),
    "fail": lambda names, to: Fail(names[0], int(names[1]), "broken", to.get("retry") != "no"),
    "release": lambda names, _: Release(names[0], int(names[1])),
    "report": lambda names, _: Report(names[0], int(names[1]), b"half"),
    "cancel": lambda names, _: Cancel(names[0]),
    "retry": lambda names, _: Retry(names[0]),
    "pause": lambda names, _: PauseQueue(names[0]),
    "resume": lambda names, _: ResumeQueue(names[0]),
    "purge": lambda names, to: PurgeQueue(names[0], to["queue"]),
    "retry_dead": lambda names, to: RetryDead(names[0], to.get("queue"), to.get("type")),
    "remove_dead": lambda names, _: RemoveDead(names[0]),
    "lead": lambda names, to: BeginTerm(
        names[0], memory_bytes_max=int(to.get("memory", 0)) or None
    ),
    "suspend-node": lambda names, _: Suspend(names[0]),
    "resume-node": lambda names, _: Resume(names[0]),
    "after": lambda _, __: Tick(),
}


def read(line: str) -> tuple[Command[Any], ...]:
    """The commands of one line: `> verb name … option=value …`."""
    verb, *rest = line.removeprefix(">").split()
    options = dict(each.split("=") for each in rest if "=" in each)
    names = [each for each in rest if "=" not in each]
    if verb == "worker":
        return new_worker(names[0], options)
    return (VERBS[verb](names, options),)


def told_reply(reply: Any) -> str:
    if isinstance(reply, Refused):
        return f"refused {reply.refusal}: {reply.detail}"
    values = ", ".join(
        f"{name} {told_value(value)}" for name, value in zip(reply._fields, reply, strict=True)
    )
    return f"{type(reply).__name__.lower()}: {values}"


def told_value(value: Any) -> str:
    if isinstance(value, SubmittedTask):
        known = " already" if value.is_duplicate else ""
        return f"{value.task_id} {value.status or 'gone'}{known}"
    if isinstance(value, Lease):
        return f"{value.task_id} (lease {value.token})"
    if isinstance(value, tuple):
        return "[" + ", ".join(told_value(each) for each in value) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def told_event(event: Event) -> str:
    parts = [event.kind]
    if event.task_id is not None:
        parts.append(event.task_id)
    if event.worker_id is not None:
        parts.append(f"worker {event.worker_id}")
    if event.lease_token is not None:
        parts.append(f"lease {event.lease_token}")
    if event.attempt is not None:
        parts.append(f"attempt {event.attempt}")
    if event.task_id is None and event.queue is not None:
        parts.append(event.queue)
    elif event.task_id is None and event.worker_id is None:
        parts.append(f"node {event.node}, term {event.term}")
    if event.error is not None:
        parts.append(f"({event.error})")
    return " ".join(parts)


def play(script: str) -> Iterator[str]:
    """The script again, each of its entries followed by what the machine makes of it."""
    machine = Machine()
    index, term, time_ms = 0, 1, 0
    for line in script.splitlines():
        if line.startswith("  "):
            continue
        yield line
        if not line.startswith(">"):
            continue
        index += 1
        if line.startswith("> after "):
            time_ms += milliseconds(line.removeprefix("> after "))
        if line.startswith("> show "):
            yield "  " + told_answer(machine, *line.removeprefix("> show ").split())
            continue
        if line == "> snapshot":
            machine = from_snapshot(machine)
            continue
        if line.startswith("> lead "):
            term += 1
        applied = machine.apply_entry(
            read(line), index=index, term=term, cluster_time_ms=time_ms, wall_time_ms=time_ms
        )
        assert check(machine) == [], line
        for reply in applied.replies:
            yield "  = " + told_reply(reply)
        for event in applied.events:
            yield "  " + told_event(event)


def from_snapshot(machine: Machine) -> Machine:
    """Another node, which goes on from a snapshot of this one."""
    loader = Loader()
    for section in dump(machine):
        loader.feed(section)
    return loader.finish()


def told_answer(machine: Machine, name: str, of: str = "task") -> str:
    """`show a`, `show default queue`, `show o operation`, `show all dead`, `show a timeline`.

    And `show 3.1 events`: those after that position.
    """
    return {
        "task": told_task,
        "queue": told_queue,
        "operation": told_operation,
        "dead": told_dead,
        "timeline": told_timeline,
        "events": told_events,
    }[of](machine, name)


def told_timeline(machine: Machine, task_id: str) -> str:
    timeline = machine.answer(Timeline(task_id))
    if timeline is None:
        return f"{task_id} is not there"
    lines = [told_entry(entry) for entry in timeline.entries]
    if timeline.dropped:
        lines.insert(1, f"({timeline.dropped} more)")
    return "\n    ".join([f"{task_id}:", *lines])


def told_entry(entry: Entry) -> str:
    parts = [f"at {entry.time_ms} ms (entry {entry.index}, term {entry.term}): {entry.kind}"]
    told = zip(("worker", "lease", "attempt"), entry[5:8], strict=True)
    parts += [f"{name} {value}" for name, value in told if value is not None]
    if entry.error is not None:
        parts.append(f"({entry.error})")
    return " ".join([*parts, "->", entry.status])


def told_events(machine: Machine, after: str) -> str:
    answer = machine.answer(EventsAfter(Position(*map(int, after.split(".")))))
    if isinstance(answer, EventsGone):
        return f"events after {after} are gone; those after {told_position(answer.oldest)} are kept"
    lines = [f"{told_position(event.position)} {told_event(event)}" for event in answer.events]
    return "\n    ".join([f"events after {after}:", *(lines or ["none"])])


def told_position(position: Position) -> str:
    return f"{position.index}.{position.offset}"


def told_queue(machine: Machine, name: str) -> str:
    queue = machine.answer(GetQueue(name))
    if queue is None:
        return f"queue {name} is not there"
    parts = [f"{number} {status}" for status, number in queue.by_status if number]
    if queue.pending_since_ms is not None:
        parts.append(f"pending since {queue.pending_since_ms} ms")
    if queue.is_paused:
        parts.append("paused")
    return f"queue {name}: " + (", ".join(parts) or "nothing")


def told_operation(machine: Machine, operation_id: str) -> str:
    operation = machine.answer(GetOperation(operation_id))
    if operation is None:
        return f"operation {operation_id} is not there"
    end = "finished" if operation.is_finished else "open"
    return f"{operation.kind} {operation_id}: {operation.done} of {operation.total}, {end}"


def told_dead(machine: Machine, _name: str) -> str:
    page = machine.answer(ListDead())
    return f"dead letters: {', '.join(task.id for task in page.tasks) or 'none'}"


def told_task(machine: Machine, task_id: str) -> str:
    task = machine.answer(GetTask(task_id))
    if task is None:
        return f"{task_id} is not there"
    shown = ("status", "attempts", "deliveries", "worker_id", "lease_token", "result", "error")
    values = {name: getattr(task, name) for name in (*shown, "retry_at_ms", "waiting_for")}
    return f"{task_id}: " + ", ".join(
        f"{name} {value}" for name, value in values.items() if value is not None
    )


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_the_machine_tells_the_story_as_it_is_written(path, monkeypatch):
    written = path.read_text()
    monkeypatch.setattr(ring, "EVENTS_MAX", EVENTS_MAX)

    told = "\n".join(play(written)) + "\n"

    if os.environ.get("QUORATE_REGENERATE"):
        path.write_text(told)
        written = told
    assert told == written
