"""What commands print: tables for people, one JSON object a line for machines."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click


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
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    least_first: Sequence[str] = (),
    wants_json: bool = False,
) -> None:
    """Many objects: a line of JSON each, or a table of the columns.

    No cell is ever cut. On a terminal that is too narrow, times and lists of ids are shortened,
    then the columns of *least_first* are left out, in this order; in a pipe, nothing is.
    """
    if wants_json:
        for row in rows:
            click.echo(as_json(row))
        return
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None
    header, *lines = table_lines(list(rows), columns, least_first=least_first, width=width)
    has_style = is_terminal and not os.environ.get("NO_COLOR")
    click.echo(click.style(header, bold=True) if has_style else header)
    for line in lines:
        click.echo(line)


def table_lines(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    least_first: Sequence[str],
    width: int | None,
) -> list[str]:
    """Lay the table out, header first, within *width* characters where that can be."""

    def laid_out(names: Sequence[str], written: Callable[[str, Any], str]) -> list[str]:
        return _laid_out([[written(name, row.get(name)) for name in names] for row in rows], names)

    lines = laid_out(columns, lambda _name, value: _written(value))
    for dropped in range(len(least_first) + 1):
        if width is None or max(map(len, lines)) <= width:
            break
        left = [name for name in columns if name not in least_first[:dropped]]
        lines = laid_out(left, _shortened)
    return lines


def _laid_out(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> list[str]:
    table = [[column.replace("_", " ") for column in columns], *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _shortened(name: str, value: Any) -> str:
    if name.endswith("_at") and isinstance(value, str):
        return value[11:19]  # 2026-01-31T12:00:00.123Z: only the time of day, UTC as ever.
    if name == "current_tasks" and isinstance(value, list):
        return str(len(value))
    return _written(value)


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
