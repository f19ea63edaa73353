"""What commands print: tables for people, one JSON object a line for machines."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table


def as_json(value: Any) -> str:
    """One line of JSON; bytes as the API writes them."""
    return json.dumps(value, ensure_ascii=False, default=_tagged)


def print_object(value: Mapping[str, Any], *, wants_json: bool = False) -> None:
    """One object: a line of JSON, or a member a line, those that say nothing left out."""
    if wants_json:
        click.echo(as_json(value))
        return
    shown = {name: member for name, member in value.items() if member not in (None, [], {}, "")}
    width = max(map(len, shown), default=0)
    for name, member in shown.items():
        click.echo(f"{name:<{width}}  {_written(member)}")


def print_table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, wants_json: bool = False
) -> None:
    """Many objects: a line of JSON each, or a table of the columns."""
    if wants_json:
        for row in rows:
            click.echo(as_json(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column == "id")
    for row in rows:
        table.add_row(*(_written(row.get(column)) for column in columns))
    Console(highlight=False).print(table)


def _written(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case _:
            return as_json(value)


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} has no JSON form")
