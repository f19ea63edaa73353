"""Tables: what stays readable, on a narrow terminal and in a pipe."""

from __future__ import annotations

from node.commands.output import table_lines

TASK = {
    "id": "01a20193-2667-756f-9fc1-4a00b19d153e",
    "type": "resize_every_image_of_the_album",
    "queue": "default",
    "status": "completed",
    "created_at": "2026-01-31T12:30:05.123Z",
}
COLUMNS = ("id", "type", "queue", "status", "created_at")


def lines(width: int | None) -> list[str]:
    return table_lines([TASK], COLUMNS, least_first=("queue", "created_at"), width=width)


def test_in_a_pipe_a_table_is_whole() -> None:
    _header, row = lines(None)

    assert row.split() == list(TASK.values())


def test_a_narrow_terminal_first_shortens_times() -> None:
    header, row = lines(105)

    assert header.split() == ["id", "type", "queue", "status", "created", "at"]
    assert row.endswith("  12:30:05")
    assert len(row) <= 105


def test_a_narrower_one_leaves_the_least_columns_out_and_cuts_no_cell() -> None:
    header, row = lines(80)

    assert header.split() == ["id", "type", "status"]
    assert row.split() == [TASK["id"], TASK["type"], "completed"]


def test_an_empty_table_is_its_header() -> None:
    assert table_lines([], ("id", "name"), least_first=(), width=80) == ["id  name"]
