"""The log for a person's eyes: an entry as plain values, payloads cut, secrets left out."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from cluster.codec import LogEntry
from cluster.core.commands import Command, Submit
from cluster.core.model import NO_EXTRAS, NewTask, Policy

STRING_CHARACTERS_MAX = 200  # What `describe` shows of a string.


def describe(entry: LogEntry) -> dict[str, Any]:
    """The entry for a person's eyes: plain values, payloads cut, the values of `meta` left out."""
    return {
        "cluster_time_ms": entry.cluster_time_ms,
        "wall_time_ms": entry.wall_time_ms,
        "commands": [
            {"op": command.op, "origin": group.origin, **_described(command)}
            for group in entry.groups
            for command in group.commands
        ],
    }


def _described(command: Command[Any]) -> dict[str, Any]:
    if isinstance(command, Submit):
        return {"tasks": [_cut(_flat(task)) for task in command.tasks]}
    return _cut({field.name: getattr(command, field.name) for field in fields(command)})


def _flat(task: NewTask) -> dict[str, Any]:
    values = task._asdict()
    kind = values.pop("kind")
    extras = values.pop("extras") or NO_EXTRAS
    idempotency = values.pop("idempotency")
    if idempotency is not None:
        values["idempotency_key"] = idempotency.key
    return {**values, **kind._asdict(), **extras._asdict()}


def _cut(values: dict[str, Any]) -> dict[str, Any]:
    shown = {name: _shown(value) for name, value in values.items() if value is not None}
    if "meta" in shown:
        shown["meta"] = [key for key, _ in values["meta"]]
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str) and len(value) > STRING_CHARACTERS_MAX:
        return f"{value[:STRING_CHARACTERS_MAX]}… {len(value)} characters"
    if isinstance(value, Policy):
        return value._asdict() | {"backoff": value.backoff._asdict()}
    return list(value) if isinstance(value, tuple) else value
